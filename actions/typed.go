package actions

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/remedykit/remedy/schema"
)

// Typed makes a function with typed parameters an [ActionHandler]. The parameters are decoded into a P, a struct with
// json tags, as [Parameters.Decode] does; when they do not fit, the step fails for good before fn is called.
func Typed[P any](fn func(ctx context.Context, req *Request, p P) (*Result, error)) ActionHandler {
	return HandlerFunc(func(ctx context.Context, req *Request) (*Result, error) {
		var p P
		if err := req.Parameters.Decode(&p); err != nil {
			return nil, Permanent(err)
		}
		return fn(ctx, req, p)
	})
}

// SpecOf returns base with Parameters made from the fields of P, a struct such as [Typed] takes:
//
//	type params struct {
//		Namespace string        `json:"namespace" validate:"required"`
//		Queue     string        `json:"queue" kind:"Queue" validate:"required" doc:"The queue to drain."`
//		Workers   int           `json:"workers" validate:"min=1,max=20" default:"4"`
//		For       time.Duration `json:"for" validate:"max=1h" default:"30s"`
//		Mode      string        `json:"mode" validate:"oneof=fast safe"`
//	}
//
// The Go type gives the parameter's: string, int to int64, bool, [time.Duration], []string, map[string]string, any (and
// pointers to these, for what may be absent); map[string]any and []any are Object. A string with kind is a Name, one
// called namespace a Namespace; type:"quantity" and the like name another type of string or list. validate knows
// required, min, max and oneof; default is the default, doc the description. Everything else is an error.
func SpecOf[P any](base Spec) (Spec, error) {
	t := reflect.TypeFor[P]()
	if t.Kind() != reflect.Struct {
		return Spec{}, fmt.Errorf("actions: parameters come from a struct, not from %v", t)
	}
	if len(base.Parameters) > 0 {
		return Spec{}, fmt.Errorf("actions: action %q: parameters: they come from %v, so base must have none", base.Name, t)
	}
	for _, f := range reflect.VisibleFields(t) {
		name, ok := jsonName(f)
		if !ok {
			continue
		}
		p, err := parameterOf(name, f)
		if err != nil {
			return Spec{}, fmt.Errorf("actions: action %q: field %s: %w", base.Name, f.Name, err)
		}
		base.Parameters = append(base.Parameters, p)
	}
	if _, err := complete(base); err != nil {
		return Spec{}, fmt.Errorf("actions: %w", err)
	}
	return base, nil
}

func parameterOf(name string, f reflect.StructField) (Parameter, error) {
	p := Parameter{Name: name, Description: f.Tag.Get("doc"), Kind: f.Tag.Get("kind")}
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == durationType:
		p.Type = Duration
	case t.Kind() == reflect.String:
		p.Type = String
		if p.Kind != "" {
			p.Type = Name
		} else if name == "namespace" {
			p.Type = Namespace
		}
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64:
		p.Type = Integer
		if bits := t.Bits(); bits < 64 {
			p.Min, p.Max = new(int64(-1)<<(bits-1)), new(int64(1)<<(bits-1)-1)
		}
	case t.Kind() == reflect.Bool:
		p.Type = Boolean
	case t == reflect.TypeFor[[]string]():
		p.Type = StringList
	case t == reflect.TypeFor[map[string]string]():
		p.Type = StringMap
	case t == reflect.TypeFor[map[string]any](), t == reflect.TypeFor[[]any]():
		p.Type = Object
	case t == reflect.TypeFor[any]():
		p.Type = Any
	default:
		return p, fmt.Errorf("no parameter has the Go type %v", f.Type)
	}
	if tag, ok := f.Tag.Lookup("type"); ok {
		narrower := map[ParameterType][]ParameterType{
			String:     {Name, Namespace, Path, RelativePath, Quantity, Duration},
			StringList: {NameList, PathList},
		}
		if !slices.Contains(narrower[p.Type], ParameterType(tag)) {
			return p, fmt.Errorf("type: a %v cannot be a %q", f.Type, tag)
		}
		p.Type = ParameterType(tag)
	}
	if err := p.validateTag(f.Tag.Get("validate")); err != nil {
		return p, fmt.Errorf("validate: %w", err)
	}
	if tag, ok := f.Tag.Lookup("default"); ok {
		if err := p.defaultTag(tag); err != nil {
			return p, fmt.Errorf("default: %w", err)
		}
	}
	return p, nil
}

func (p *Parameter) validateTag(tag string) error {
	if tag == "" {
		return nil
	}
	for rule := range strings.SplitSeq(tag, ",") {
		key, arg, _ := strings.Cut(rule, "=")
		switch key {
		case "omitempty":
		case "required":
			p.Required = true
		case "oneof":
			p.Enum = strings.Fields(arg)
		case "min", "max":
			n, err := p.bound(arg)
			if err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			if key == "min" {
				p.Min = &n
			} else {
				p.Max = &n
			}
		default:
			return fmt.Errorf("unknown rule %q; known are required, min, max, oneof", rule)
		}
	}
	return nil
}

// bound reads an integer, or a duration as seconds.
func (p *Parameter) bound(s string) (int64, error) {
	if p.Type != Duration {
		return strconv.ParseInt(s, 10, 64)
	}
	d, err := schema.ParseDuration(s)
	if err == nil && d%seconds(1) != 0 {
		err = fmt.Errorf("%v is not whole seconds", d)
	}
	return int64(d / seconds(1)), err
}

func (p *Parameter) defaultTag(s string) (err error) {
	switch p.Type {
	case Integer:
		p.Default, err = strconv.ParseInt(s, 10, 64)
	case Boolean:
		p.Default, err = strconv.ParseBool(s)
	case StringList, NameList, PathList:
		p.Default = strings.Fields(s)
	case StringMap, Object, Any:
		err = fmt.Errorf("a %s cannot have one in a tag", p.Type)
	default:
		p.Default = s
	}
	return err
}
