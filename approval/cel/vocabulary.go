package cel

import (
	"maps"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/schema"
)

var (
	riskType   = types.NewObjectType("Risk", traits.ComparerType)
	stepType   = types.NewObjectType("Step")
	targetType = types.NewObjectType("Target")
	planType   = types.NewObjectType("Plan")
)

// A name is something that a condition can speak of: a variable, or a field of an object.
type name struct {
	typ *types.Type
	of  func(s *approval.Subject) any
}

// variables are looked at only when a condition speaks of them, and so are fields.
var variables = map[string]name{
	"step":       {stepType, func(s *approval.Subject) any { return object{stepType, s} }},
	"plan":       {planType, func(s *approval.Subject) any { return object{planType, s} }},
	"risk":       {riskType, func(s *approval.Subject) any { return risk(s.Risk) }},
	"confidence": {types.DoubleType, func(s *approval.Subject) any { return s.Confidence }},
	"time":       {types.TimestampType, func(s *approval.Subject) any { return s.Time }},
}

var fields = map[string]map[string]name{
	stepType.TypeName(): {
		"id":         {types.StringType, func(s *approval.Subject) any { return s.Step.ID() }},
		"number":     {types.IntType, func(s *approval.Subject) any { return s.Step.Number() }},
		"action":     {types.StringType, func(s *approval.Subject) any { return s.Step.Action() }},
		"category":   {types.StringType, func(s *approval.Subject) any { return s.Step.Spec().Category }},
		"mutating":   {types.BoolType, func(s *approval.Subject) any { return s.Step.Mutating() }},
		"reversible": {types.BoolType, func(s *approval.Subject) any { return s.Step.Reversible() }},
		"risk":       {riskType, func(s *approval.Subject) any { return risk(s.Risk) }},
		"timeout":    {types.DurationType, func(s *approval.Subject) any { return s.Step.Timeout() }},
		"parameters": {types.NewMapType(types.StringType, types.DynType), func(s *approval.Subject) any { return parameters(s.Step) }},
		"target":     {targetType, func(s *approval.Subject) any { return object{targetType, s} }},
	},
	targetType.TypeName(): {
		"kind":      {types.StringType, func(s *approval.Subject) any { return s.Step.Target().Kind }},
		"namespace": {types.StringType, func(s *approval.Subject) any { return s.Step.Target().Namespace }},
		"name":      {types.StringType, func(s *approval.Subject) any { return s.Step.Target().Name }},
	},
	riskType.TypeName(): {},
	planType.TypeName(): {
		"steps":    {types.IntType, func(s *approval.Subject) any { return s.Plan.Len() }},
		"mutating": {types.IntType, func(s *approval.Subject) any { return mutating(s.Plan) }},
		"actions":  {types.NewListType(types.StringType), func(s *approval.Subject) any { return actionsOf(s.Plan) }},
		"digest":   {types.StringType, func(s *approval.Subject) any { return s.Plan.Digest() }},
	},
}

// vocabulary declares the names, for a rule about a step or about the plan as a whole.
func vocabulary(plan bool) []cel.EnvOption {
	options := []cel.EnvOption{func(e *cel.Env) (*cel.Env, error) {
		return cel.CustomTypeProvider(provider{e.CELTypeProvider()})(e)
	}}
	for word, v := range variables {
		if word == "step" && plan {
			continue
		}
		options = append(options, cel.Variable(word, v.typ))
	}
	for r := schema.RiskNone; r <= schema.RiskCritical; r++ {
		options = append(options, cel.Constant(r.String(), riskType, risk(r)))
	}
	for id, operator := range map[string]string{
		"risk_less": operators.Less, "risk_less_equals": operators.LessEquals,
		"risk_greater": operators.Greater, "risk_greater_equals": operators.GreaterEquals,
	} {
		options = append(options, cel.Function(operator, cel.Overload(id, []*cel.Type{riskType, riskType}, cel.BoolType)))
	}
	return options
}

// An activation answers what the variables are.
type activation struct{ *approval.Subject }

func (a activation) ResolveName(word string) (any, bool) {
	v, ok := variables[word]
	if !ok || word == "step" && a.Step == nil {
		return nil, false
	}
	return v.of(a.Subject), true
}

func (activation) Parent() cel.Activation { return nil }

// A provider knows the fields of the types, beside those of CEL.
type provider struct{ types.Provider }

func (p provider) FindStructType(typ string) (*types.Type, bool) {
	for _, t := range []*types.Type{riskType, stepType, targetType, planType} {
		if t.TypeName() == typ {
			return types.NewTypeTypeWithParam(t), true
		}
	}
	return p.Provider.FindStructType(typ)
}

func (p provider) FindStructFieldNames(typ string) ([]string, bool) {
	if of, ok := fields[typ]; ok {
		return slices.Sorted(maps.Keys(of)), true
	}
	return p.Provider.FindStructFieldNames(typ)
}

func (p provider) FindStructFieldType(typ, field string) (*types.FieldType, bool) {
	of, ok := fields[typ]
	if !ok {
		return p.Provider.FindStructFieldType(typ, field)
	}
	f, ok := of[field]
	if !ok {
		return nil, false
	}
	return &types.FieldType{
		Type: f.typ,
		// An empty text is a field that is not there: has(step.target.namespace).
		IsSet: func(o any) bool { return f.of(o.(object).subject) != "" },
		GetFrom: func(o any) (any, error) {
			return f.of(o.(object).subject), nil
		},
	}, true
}

func (p provider) NewValue(typ string, given map[string]ref.Val) ref.Val {
	if _, ok := fields[typ]; ok {
		return types.NewErr("a condition cannot make a %s", typ)
	}
	return p.Provider.NewValue(typ, given)
}
