package cel

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"

	"github.com/remedykit/remedy/internal/wording"
	"github.com/remedykit/remedy/schema"
)

// A fault is what is wrong with a condition, and where, both from 1.
type fault struct {
	line, column int
	text         string
}

func (f *fault) Error() string                { return f.text }
func (f *fault) Position() (line, column int) { return f.line, f.column }

var (
	// misspelt is how CEL speaks of a name that it does not know.
	misspelt = regexp.MustCompile(`^undefined field '(.+)'|^undeclared reference to '(.+)'`)
	// incomparable is how it speaks of an operator that does not take such values.
	incomparable = regexp.MustCompile(`^found no matching overload for '_([^_]+)_' applied to '\((.+), (.+)\)'`)
)

// explain makes a fault of the first that was found.
func explain(all []*cel.Error, err error, plan bool) error {
	if len(all) == 0 {
		return &fault{1, 1, oneLine(err.Error())}
	}
	first := slices.MinFunc(all, func(a, b *cel.Error) int {
		return cmp.Or(cmp.Compare(a.Location.Line(), b.Location.Line()), cmp.Compare(a.Location.Column(), b.Location.Column()))
	})
	text := strings.ReplaceAll(oneLine(first.Message), " (in container '')", "")
	if m := misspelt.FindStringSubmatch(text); m != nil {
		switch word := cmp.Or(m[1], m[2]); {
		case word == "step" && plan:
			text = "a rule about the plan as a whole has no step; leave plan: true out"
		case !strings.Contains(text, "did you mean"):
			if other := nearest(word); other != "" {
				text += " (did you mean " + other + "?)"
			}
		}
	}
	if m := incomparable.FindStringSubmatch(text); m != nil {
		text = fmt.Sprintf("%s does not go between %s and %s", m[1], m[2], m[3])
		if m[2] == riskType.TypeName() || m[3] == riskType.TypeName() {
			text += "; compare a risk with none, low, medium, high or critical, without quotes"
		}
	}
	// A position that CEL does not know is 0 or -1.
	return &fault{max(1, first.Location.Line()), max(0, first.Location.Column()) + 1, text}
}

// nearest is the name that is most like a misspelt one; "" when none is.
func nearest(word string) string {
	if len(word) > 64 {
		return ""
	}
	known := slices.Collect(maps.Keys(variables))
	for _, of := range fields {
		known = slices.AppendSeq(known, maps.Keys(of))
	}
	for r := schema.RiskNone; r <= schema.RiskCritical; r++ {
		known = append(known, r.String())
	}
	slices.Sort(known)
	distance := func(a string) int { return wording.Distance(strings.ToLower(word), a) }
	best := slices.MinFunc(known, func(a, b string) int { return cmp.Compare(distance(a), distance(b)) })
	if 3*distance(best) > max(len(word), len(best)) {
		return ""
	}
	return best
}

// hint says how to make a condition of a value of any type.
func hint(t *types.Type) string {
	if t.IsExactType(types.DynType) {
		return ": compare it with something, such as == true"
	}
	return ""
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// sizes knows of no value how long it is.
type sizes struct{}

func (sizes) EstimateSize(cost.AstNode) *cost.SizeEstimate { return nil }

func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// zoneLiterals refuses time zones that the system does not know.
type zoneLiterals struct{}

func (zoneLiterals) Name() string { return "remedy.validator.zone" }

var (
	offset = regexp.MustCompile(`^[+-]?\d\d:\d\d$`)
	zoned  = []string{overloads.TimeGetFullYear, overloads.TimeGetMonth, overloads.TimeGetDayOfYear, overloads.TimeGetDate,
		overloads.TimeGetDayOfMonth, overloads.TimeGetDayOfWeek, overloads.TimeGetHours, overloads.TimeGetMinutes,
		overloads.TimeGetSeconds, overloads.TimeGetMilliseconds}
)

func (zoneLiterals) Validate(_ *cel.Env, _ cel.ValidatorConfig, a *ast.AST, issues *cel.Issues) {
	for _, e := range ast.MatchDescendants(ast.NavigateAST(a), ast.KindMatcher(ast.CallKind)) {
		call := e.AsCall()
		if !slices.Contains(zoned, call.FunctionName()) || len(call.Args()) != 1 || call.Args()[0].Kind() != ast.LiteralKind {
			continue
		}
		zone, ok := call.Args()[0].AsLiteral().Value().(string)
		if _, err := time.LoadLocation(zone); ok && err != nil && !offset.MatchString(zone) {
			issues.ReportErrorAtID(call.Args()[0].ID(), "%s is not the name of a time zone that this system knows", wording.Quote(zone))
		}
	}
}
