package actions

import (
	"time"

	"github.com/remedykit/remedy/schema"
)

// Effect tells what an action touches.
type Effect string

// The effects.
const (
	// Reads changes nothing.
	Reads Effect = "reads"
	// Mutates changes objects of the cluster or what runs in it.
	Mutates Effect = "mutates"
	// External reaches outside the cluster.
	External Effect = "external"
)

// Role is the part that an action plays in a remediation; patterns are recognised by roles.
type Role string

// The roles.
const (
	Diagnoses  Role = "diagnose"
	BacksUp    Role = "backup"
	Fixes      Role = "fix"
	Restarts   Role = "restart" // its whole purpose is to restart pods
	Verifies   Role = "verify"
	Correlates Role = "correlate"
	Silences   Role = "silence"
	Records    Role = "record" // tells people or writes down what was done
)

// A Spec describes an action type as data. Specs are values: copy and change one to make another.
type Spec struct {
	// Name is the action type, in snake_case. Required.
	Name string `json:"name"`
	// Aliases are other exact spellings; kebab-case and PascalCase of all of them are accepted without being listed.
	Aliases []string `json:"aliases,omitempty"`
	// Title is the name for people. Defaults to Name in words.
	Title string `json:"title"`
	// Category groups actions in listings. Defaults to custom.
	Category string `json:"category"`
	// Does says what the action does, and Done when it is done.
	Does string `json:"does"`
	Done string `json:"done,omitempty"`
	// Effect defaults to Mutates, the most restrictive.
	Effect Effect `json:"effect"`
	// Role defaults to Fixes.
	Role Role `json:"role"`
	// Notice marks an external action that only tells people something: it is not mutating.
	Notice bool `json:"notice,omitempty"`
	// RiskFloor is the lowest risk a step of this action has. Defaults to high, the most restrictive that is not critical.
	RiskFloor schema.Risk `json:"riskFloor"`
	// Timeout of a step. Defaults to 5m.
	Timeout time.Duration `json:"-"` // in JSON: timeoutSeconds
	// Undo says what a rollback does; "" means that the action cannot be undone.
	Undo string `json:"undo,omitempty"`
	// Idempotent tells that doing it twice is the same as doing it once, so that it may be sent again when nobody knows
	// whether it was.
	Idempotent bool `json:"idempotent,omitempty"`
	// Rolls tells that the action restarts the pods of its target as a part of what it does.
	Rolls bool `json:"rolls,omitempty"`
	// Gate tells that a failed step fails the run although it changes nothing: always, or when one of GateParameters
	// is given.
	Gate           bool     `json:"gate,omitempty"`
	GateParameters []string `json:"gateParameters,omitempty"`
	// Artifact is the type of the artifact that a step leaves, named <type>_<step id>; ArtifactParameter names the
	// parameter that overrides it. "" means none.
	Artifact          string `json:"artifact,omitempty"`
	ArtifactParameter string `json:"artifactParameter,omitempty"`
	// Parameters in the order of documentation. The first that names a kind and is given is the step's target.
	Parameters []Parameter `json:"parameters"`
	// AnyParameters accepts parameters that are not listed.
	AnyParameters bool `json:"anyParameters,omitempty"`
	// Rules hold between parameters.
	Rules []Rule `json:"rules,omitempty"`
}

// Mutating tells whether the action changes something: it governs gates, unknown parameters, protected namespaces and
// what a failure does. Everything but Reads is, apart from notices.
func (s *Spec) Mutating() bool { return s.Effect != Reads && !s.Notice }

// Reversible tells whether a rollback can undo the action.
func (s *Spec) Reversible() bool { return s.Undo != "" }

// Estimate is what a step is expected to take when nothing better is known: a quarter of the time-out, at most 2m.
func (s *Spec) Estimate() time.Duration { return min(s.Timeout/4, 2*time.Minute) }

// ParameterType is the type of a parameter's value.
type ParameterType string

// The parameter types.
const (
	String    ParameterType = "string"
	Integer   ParameterType = "integer"
	Boolean   ParameterType = "boolean"
	Duration  ParameterType = "duration"  // Go's syntax, or "7d"
	Quantity  ParameterType = "quantity"  // Kubernetes' resource.Quantity
	Name      ParameterType = "name"      // RFC 1123 subdomain
	Namespace ParameterType = "namespace" // RFC 1123 label
	Path      ParameterType = "path"      // absolute, not "/" itself, no ".."
	// RelativePath stays below where it begins: no "..", no leading hyphen.
	RelativePath ParameterType = "relativePath"
	StringList   ParameterType = "stringList"
	NameList     ParameterType = "nameList"
	PathList     ParameterType = "pathList"
	StringMap    ParameterType = "stringMap"
	Object       ParameterType = "object" // any object or list, as it is
	Any          ParameterType = "any"
)

// A Parameter describes one parameter as data.
type Parameter struct {
	// Name in camelCase. Its snake_case is accepted as an alias.
	Name        string        `json:"name"`
	Aliases     []string      `json:"aliases,omitempty"`
	Type        ParameterType `json:"type"`
	Description string        `json:"description"`
	Required    bool          `json:"required,omitempty"`
	// Kind is the Kubernetes kind that the value names, for parameters that name the target. Parameters of the same
	// kind name one object together, joined by a slash (a repository and a path in it).
	Kind string `json:"kind,omitempty"`
	// Enum lists the values a string may have. Empty: any.
	Enum []string `json:"enum,omitempty"`
	// Min and Max bound an integer, or a duration in seconds; nil means no bound.
	Min *int64 `json:"min,omitempty"`
	Max *int64 `json:"max,omitempty"`
	// Default is what handlers see when the parameter is not given; nil means nothing.
	Default any `json:"default,omitempty"`
	// Words are strings accepted beside the type's values ("previous" for a revision).
	Words []string `json:"words,omitempty"`
	// Refuse lists values that are never accepted (match-all patterns in a list of alert names). Where it lists any,
	// every other pattern that matches everything is refused too.
	Refuse []string `json:"refuse,omitempty"`
	// Floors raise the risk of a step in which the parameter has a certain value.
	Floors []Floor `json:"floors,omitempty"`
	// Secret marks values that must not reach journal, log, event or notification.
	Secret bool `json:"secret,omitempty"`
}

// A Floor raises a step's risk when a parameter is given with a value.
type Floor struct {
	Value  any         `json:"value"`
	Risk   schema.Risk `json:"risk"`
	Reason string      `json:"reason"`
}

// A Rule holds between parameters of one step; exactly one of its fields is set. Giving none of OneOf or AnyOf is a
// missing-parameter, every other breach an invalid-parameter.
type Rule struct {
	// OneOf: exactly one is given.
	OneOf []string `json:"oneOf,omitempty"`
	// AnyOf: at least one is given.
	AnyOf []string `json:"anyOf,omitempty"`
	// AtMostOne: none or one is given.
	AtMostOne []string `json:"atMostOne,omitempty"`
	// NotGreater: the first is not greater than the second when both are given (integers, durations, quantities).
	NotGreater []string `json:"notGreater,omitempty"`
}
