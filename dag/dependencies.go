package dag

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/remedykit/remedy/internal/wording"
	"github.com/remedykit/remedy/schema"
)

const (
	// A list of dependencies with more mistakes than this gets no further problem for each.
	maxListProblems = 32
	// So many ids are compared in search of what misspelt ones may have meant.
	maxComparisons = 1 << 16
)

// joinSteps makes the graph of the dependencies that can be found.
func (b *builder) joinSteps() {
	m := 0
	for i := range b.doc.Recommendations {
		m += len(b.doc.Recommendations[i].Dependencies)
	}
	edges := make([]Edge, 0, m)
	b.sound = true
	budget := maxComparisons
	last := make([]int32, len(b.steps)) // last[d] is the number of the last step that was found to depend on d
	for i := range b.steps {
		wrong, severity := 0, schema.SeverityWarning
		for k, id := range b.doc.Recommendations[i].Dependencies {
			d, ok := b.index[id]
			switch {
			case ok && int(d) != i && last[d] != int32(i+1):
				last[d] = int32(i + 1)
				edges = append(edges, Edge{d, int32(i)})
				continue
			case !ok || int(d) == i:
				b.sound = false
			}
			if wrong++; wrong > maxListProblems {
				if !ok || int(d) == i {
					severity = schema.SeverityError
				}
				continue
			}
			at := b.doc.Pointer(i, "dependencies", strconv.Itoa(k))
			switch {
			case !ok:
				b.problem(i, schema.CodeMissingDependency, at, b.nearestID(id, i, &budget), "the document has no step %s", wording.Quote(id))
			case int(d) == i:
				b.problem(i, schema.CodeSelfDependency, at, "", "the step depends on itself")
			default:
				b.warning(i, schema.CodeInvalidValue, at, "%s is listed twice", id)
			}
		}
		if more := wrong - maxListProblems; more > 0 {
			b.doc.Report(schema.Problem{Code: schema.CodeLimitExceeded, Severity: severity, Step: b.validID(i), Pointer: b.doc.Pointer(i, "dependencies"),
				Message: fmt.Sprintf("%d more entries of this list are wrong; mend the others first", more)})
		}
	}
	b.graph = NewGraph(len(b.steps), edges)
	b.search = newSearch(b.graph)
	for _, cycle := range b.graph.cycles(len(b.steps)) {
		b.sound = false
		b.reportCycle(cycle)
	}
}

// reportCycle names the whole path, beginning with the smallest id, at the dependency that leads into it.
func (b *builder) reportCycle(cycle []int32) {
	id := func(i int32) string { return b.doc.Recommendations[i].ID }
	first := slices.IndexFunc(cycle, func(i int32) bool {
		return !slices.ContainsFunc(cycle, func(k int32) bool { return compareIDs(id(k), id(i)) < 0 })
	})
	cycle = slices.Concat(cycle[first:], cycle[:first+1])
	i, before := int(cycle[0]), cycle[len(cycle)-2]
	path := make([]string, len(cycle))
	for k, c := range cycle {
		path[k] = cmp.Or(b.validID(int(c)), wording.Quote(id(c)))
	}
	at := slices.Index(b.doc.Recommendations[i].Dependencies, id(before))
	b.problem(i, schema.CodeDependencyCycle, b.doc.Pointer(i, "dependencies", strconv.Itoa(at)), "",
		"each of these steps waits for the one before it: %s", strings.Join(path, " -> "))
}

// compareIDs compares numbers as numbers: in a manifest 9 comes before 10.
func compareIDs(a, b string) int {
	if isNumber(a) && isNumber(b) {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	}
	return cmp.Compare(a, b)
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
