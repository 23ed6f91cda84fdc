package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/remedykit/remedy/internal/wording"
)

// Check reports what Parse would have found in a document that was built by hand, or in the steps that were added by
// hand to one that it read: fields that are missing or out of range, ids that stand twice, and forbidden characters in
// any text. What Parse has read it does not look at again.
func (d *Document) Check() {
	if len(d.Recommendations) == 0 && d.source == nil {
		d.Report(Problem{Code: CodeMissingField, Message: "the document has no recommendations"})
	}
	if d.source == nil {
		d.checkText(-1, "estimatedDuration", d.EstimatedDuration.Text, false)
		if r := d.HistoricalSuccessRate; r != nil && !(*r >= 0 && *r <= 1) {
			d.Report(Problem{Code: CodeInvalidValue, Pointer: "/historicalSuccessRate", Message: fmt.Sprintf("historicalSuccessRate %v is not between 0 and 1", *r)})
		}
	}
	if w := d.Workflow; w != nil && d.source == nil {
		d.checkStrategy(w.Spec.ExecutionStrategy.DryRunFirst, w.Spec.ExecutionStrategy.RollbackStrategy)
	}
	var first map[string]int
	for i := range d.Recommendations {
		if d.source != nil && d.Recommendations[i].node != 0 {
			continue
		}
		if first == nil {
			first = make(map[string]int, len(d.Recommendations))
			for k := range d.Recommendations {
				if _, ok := first[d.Recommendations[k].ID]; !ok {
					first[d.Recommendations[k].ID] = k
				}
			}
		}
		d.checkStep(i, first)
	}
}

func (d *Document) checkStrategy(dryRunFirst bool, rollback string) {
	if !dryRunFirst {
		d.Report(Problem{Code: CodeInvalidValue, Severity: SeverityWarning, Pointer: "/spec/executionStrategy/dryRunFirst", Message: noDryRun})
	}
	if message, wish := rollbackWish(rollback); message != "" && rollback != "" {
		p := Problem{Code: CodeInvalidValue, Pointer: "/spec/executionStrategy/rollbackStrategy", Message: message}
		if wish {
			p.Severity = SeverityWarning
		}
		d.Report(p)
	}
}

func (d *Document) checkStep(i int, first map[string]int) {
	r := &d.Recommendations[i]
	wrong := func(code Code, field, format string, args ...any) {
		d.Report(Problem{Code: code, Step: r.ID, Pointer: d.Pointer(i, field), Message: fmt.Sprintf(format, args...)})
	}
	switch k := first[r.ID]; {
	case r.ID == "":
		wrong(CodeMissingField, "id", "the step has no id")
	case !validID(r.ID):
		wrong(CodeInvalidValue, "id", "id %s must have 1 to 63 letters, digits, dots, underscores or hyphens", wording.Quote(r.ID))
	case k < i:
		wrong(CodeDuplicateID, "id", "step %d has the id %s too", k+1, r.ID)
	}
	if r.Action == "" {
		wrong(CodeMissingField, "action", "the step has no action")
	}
	if r.Risk > RiskCritical {
		wrong(CodeInvalidValue, "risk", "risk %d is none of none, low, medium, high, critical", uint8(r.Risk))
	}
	if r.Timeout < 0 {
		wrong(CodeInvalidValue, "timeout", "time-out %s is negative", r.Timeout)
	}
	if c := r.Confidence; c != nil && !(*c >= 0 && *c <= 1) {
		wrong(CodeInvalidValue, "confidence", "confidence %v is not between 0 and 1", *c)
	}
	d.checkText(i, "action", r.Action, false)
	d.checkText(i, "description", r.Description, true)
	d.checkText(i, "rationale", r.Rationale, true)
	d.checkText(i, "name", r.Name, false)
	for k, id := range r.Dependencies {
		d.checkText(i, "dependencies", id, false, strconv.Itoa(k))
	}
	if t := r.Target; t != nil {
		d.checkText(i, "targetResource", t.Kind, false, "kind")
		d.checkText(i, "targetResource", t.Namespace, false, "namespace")
		d.checkText(i, "targetResource", t.Name, false, "name")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Parameters)) {
		d.checkText(i, "parameters", name, false, name)
		d.checkValue(i, r.Parameters[name], name == "reason" || name == "message", name)
	}
}

// checkText reports a text that holds a forbidden character. i is -1 for one of the document itself.
func (d *Document) checkText(i int, field, text string, prose bool, path ...string) {
	what := forbiddenIn(text, prose)
	if what == "" {
		return
	}
	p := Problem{Code: CodeForbiddenCharacter, Pointer: "/" + field, Message: field + " holds " + what}
	if i >= 0 {
		p.Step, p.Pointer = d.Recommendations[i].ID, d.Pointer(i, field, path...)
	}
	d.Report(p)
}

// checkValue reports what no value of a document can be or hold.
func (d *Document) checkValue(i int, value any, prose bool, path ...string) {
	below := func(name string) []string { return append(slices.Clip(path), name) }
	switch v := value.(type) {
	case nil, bool:
		return
	case string:
		d.checkText(i, "parameters", v, prose, path...)
		return
	case []string:
		for k, text := range v {
			d.checkText(i, "parameters", text, false, below(strconv.Itoa(k))...)
		}
		return
	case []any:
		for k, item := range v {
			d.checkValue(i, item, false, below(strconv.Itoa(k))...)
		}
		return
	case map[string]string:
		for _, name := range sortedKeys(v) {
			d.checkText(i, "parameters", name, false, below(name)...)
			d.checkText(i, "parameters", v[name], false, below(name)...)
		}
		return
	case map[string]any:
		for _, name := range sortedKeys(v) {
			d.checkText(i, "parameters", name, false, below(name)...)
			d.checkValue(i, v[name], false, below(name)...)
		}
		return
	case json.Number:
		if jsonNumber.MatchString(v.String()) {
			return
		}
	default:
		n := reflect.ValueOf(v)
		if n.CanInt() || n.CanUint() || n.CanFloat() && !math.IsNaN(n.Float()) && !math.IsInf(n.Float(), 0) {
			return
		}
	}
	d.Report(Problem{Code: CodeInvalidValue, Step: d.Recommendations[i].ID, Pointer: d.Pointer(i, "parameters", path...),
		Message: fmt.Sprintf("a parameter must be a string, bool, number, list or object, not %s", wording.Quote(fmt.Sprintf("%T %v", value, value)))})
}

// forbiddenIn says which character of a text is not allowed in it, "" when there is none. In prose lines and tabs are
// fine.
func forbiddenIn(text string, prose bool) string {
	for k, r := range text {
		switch {
		case r == utf8.RuneError:
			if _, n := utf8.DecodeRuneInString(text[k:]); n == 1 {
				return fmt.Sprintf("the byte 0x%02X, which is not UTF-8", text[k])
			}
		case !isForbidden(r) || prose && (r == '\n' || r == '\t'):
		case r >= 0xa0:
			return fmt.Sprintf("U+%04X, an invisible or reordering character that is not allowed there", r)
		default:
			return fmt.Sprintf("U+%04X, a control character that is not allowed there", r)
		}
	}
	return ""
}
