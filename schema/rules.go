package schema

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/go-playground/validator/v10"

	"github.com/remedykit/remedy/internal/wording"
)

// newValidator builds the validator for the field rules in the struct tags. It is safe for concurrent use.
var newValidator = sync.OnceValue(func() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		return name
	})
	if err := v.RegisterValidation("stepid", func(f validator.FieldLevel) bool { return validID(f.Field().String()) }); err != nil {
		panic(err) // the tag is a constant
	}
	return v
})

// validID tells whether s can name a step.
func validID(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

// rules holds the document against the rules of its struct tags.
func (p *parser) rules() {
	wrong, ok := errors.AsType[validator.ValidationErrors](newValidator().Struct(&p.doc))
	if !ok {
		return
	}
	for _, w := range wrong {
		_, path, _ := strings.Cut(w.Namespace(), ".")
		if rest, ok := strings.CutPrefix(path, "recommendations["); ok {
			place, field, _ := strings.Cut(rest, "].")
			i, _ := strconv.Atoi(place)
			p.broke(i, p.doc.Recommendations[i].node, strings.Split(field, "."), w)
			continue
		}
		p.broke(-1, 0, []string{path}, w)
	}
}

// broke reports that an object breaks the rule of a field. step is the number of the recommendation, or -1.
func (p *parser) broke(step int, object int32, path []string, w validator.FieldError) {
	field := path[len(path)-1]
	if p.told[told{step, field}] {
		return
	}
	value := none
	for i, name := range path {
		if i > 0 {
			object = value
		}
		value = p.spelled(object, name, step >= 0 && i == 0)
	}
	switch tag := w.Tag(); {
	case field == "recommendations" && p.steps == 0:
		p.problem(CodeInvalidValue, 0, "the list has no steps; it must hold at least one", "")
	case value == none || p.nodes[value].kind == kindNull:
		p.lacks(object, path)
	case tag == "required":
		p.problem(CodeInvalidValue, value, field+" is empty", "")
	case tag == "stepid" && strings.ContainsFunc(p.text(value), isForbidden): // reported as such
	case tag == "stepid":
		p.problem(CodeInvalidValue, value, fmt.Sprintf("the id %s must be 1 to 63 letters, digits, dots, underscores or hyphens", wording.Quote(fmt.Sprint(w.Value()))), "")
	case field == "recommendations":
		p.problem(CodeInvalidValue, value, "the document has no steps; recommendations must hold at least one", "")
	default:
		p.problem(CodeInvalidValue, value, fmt.Sprintf("%s must be between 0 and 1, not %s", field, wording.Quote(p.text(value))), "")
	}
}

// lacks reports that an object has no such field.
func (p *parser) lacks(object int32, path []string) {
	field := path[len(path)-1]
	switch {
	case field == "recommendations":
		p.problem(CodeMissingField, object, `the document has no "recommendations"; that is its list of steps`, "")
	case len(path) > 1:
		p.problem(CodeMissingField, object, fmt.Sprintf("%s has no %q", path[0], field), "")
	case field == "id" && p.manifest:
		p.problem(CodeMissingField, object, `the step has no "stepNumber"; every step needs one`, "")
	default:
		p.problem(CodeMissingField, object, fmt.Sprintf("the step has no %q; every step needs one", field), "")
	}
}

// spelled returns the value of a field in any of its spellings, or none. Those of a step are its own.
func (p *parser) spelled(object int32, canonical string, step bool) int32 {
	for k := range p.items(object) {
		name := p.text(k)
		if step && lookUpField(name) == canonicalField(canonical) || !step && outerField(name) == canonical || foldName(name) == foldName(canonical) {
			return k + 1
		}
	}
	return none
}
