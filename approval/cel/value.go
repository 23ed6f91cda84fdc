package cel

import (
	"cmp"
	"fmt"
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

// A risk is a schema.Risk that a condition can compare.
type risk schema.Risk

func (r risk) Compare(other ref.Val) ref.Val {
	o, ok := other.(risk)
	if !ok {
		return types.MaybeNoSuchOverloadErr(other)
	}
	return types.Int(cmp.Compare(r, o))
}

func (r risk) Equal(other ref.Val) ref.Val { return types.Bool(other == ref.Val(r)) }
func (r risk) Type() ref.Type              { return riskType }
func (r risk) Value() any                  { return r }

func (r risk) ConvertToNative(t reflect.Type) (any, error) {
	return nil, unconvertible(riskType, t.String())
}

func (r risk) ConvertToType(t ref.Type) ref.Val {
	return types.WrapErr(unconvertible(riskType, t.TypeName()))
}

// An object is the step, its target or the plan of a subject; its fields are in fields.
type object struct {
	typ     *types.Type
	subject *approval.Subject
}

func (o object) Equal(other ref.Val) ref.Val { return types.Bool(other == ref.Val(o)) }
func (o object) Type() ref.Type              { return o.typ }
func (o object) Value() any                  { return o }

func (o object) ConvertToNative(t reflect.Type) (any, error) {
	return nil, unconvertible(o.typ, t.String())
}
func (o object) ConvertToType(t ref.Type) ref.Val {
	return types.WrapErr(unconvertible(o.typ, t.TypeName()))
}

func unconvertible(from *types.Type, to string) error {
	return fmt.Errorf("a %s cannot become a %s", from.TypeName(), to)
}

// parameters are what the handler of a step will see, defaults included, without secrets. A duration is one in CEL too.
func parameters(step *dag.Step) map[string]any {
	given, spec := step.Parameters(), step.Spec()
	all := make(map[string]any, given.Len())
	for name, v := range given.All() {
		all[name] = v
	}
	for i := range spec.Parameters {
		p := &spec.Parameters[i]
		v := given.Get(p.Name)
		switch {
		case p.Secret:
			delete(all, p.Name)
		case v == nil:
		case p.Type == actions.Duration:
			if text, ok := v.(string); ok {
				if d, err := schema.ParseDuration(text); err == nil {
					v = d
				}
			}
			all[p.Name] = v
		default:
			all[p.Name] = v
		}
	}
	return all
}

func mutating(p *dag.Plan) (n int) {
	for i := range p.Len() {
		if p.Step(i).Mutating() {
			n++
		}
	}
	return n
}

func actionsOf(p *dag.Plan) []string {
	list := make([]string, p.Len())
	for i := range list {
		list[i] = p.Step(i).Action()
	}
	return list
}
