package dag

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/remedykit/remedy/internal/wording"
	"github.com/remedykit/remedy/schema"
)

// attachments is the only parameter that names artifacts.
const attachments = "attachments"

// A reference is an entry of a step's attachments that names an artifact of the plan.
type reference struct {
	entry    int
	producer int32
}

// artifactName is the name of an artifact as attachments write it: in a manifest ids are numbers and the name says
// step-N, elsewhere it ends in the id.
func (b *builder) artifactName(id, name string) string {
	if kind, ok := strings.CutSuffix(name, "_"+id); ok && b.doc.Workflow != nil && isNumber(id) {
		return kind + "_step-" + id
	}
	return name
}

// checkArtifacts finds the entries of attachments that name artifacts, and checks that what they name will be there.
func (b *builder) checkArtifacts() {
	var (
		producers map[string]int32
		kinds     map[string]bool
		longest   int // of the kinds
	)
	for i := range b.steps {
		s := &b.steps[i]
		if s.spec == nil || !s.task.Parameters.Given(attachments) {
			continue
		}
		if producers == nil {
			producers, kinds = b.artifacts()
			for kind := range kinds {
				longest = max(longest, len(kind))
			}
		}
		wrong := 0
		for k, name := range s.task.Parameters.Strings(attachments) {
			producer, ok := producers[name]
			if !ok {
				if wrong < maxListProblems && b.checkMissing(s, k, name, kinds, longest) {
					wrong++
				}
				continue
			}
			s.references = append(s.references, reference{k, producer})
		}
		b.checkProducers(s)
	}
}

// artifacts returns who leaves which artifact, by every name it may go by, and the kinds of artifacts that the plan
// and the registry know.
func (b *builder) artifacts() (producers map[string]int32, kinds map[string]bool) {
	producers, kinds = map[string]int32{}, map[string]bool{}
	for _, spec := range b.reg.Specs() {
		if spec.Artifact != "" {
			kinds[spec.Artifact] = true
		}
	}
	for i := range b.steps {
		s := &b.steps[i]
		if s.artifact == "" {
			continue
		}
		producers[s.artifact] = int32(i)
		kind := artifactKind(s)
		kinds[kind] = true
		if isNumber(s.task.Step) {
			for _, name := range [...]string{kind + "_" + s.task.Step, kind + "_step-" + s.task.Step} {
				if _, taken := producers[name]; !taken {
					producers[name] = int32(i)
				}
			}
		}
	}
	return producers, kinds
}

func artifactKind(s *Step) string {
	if kind, ok := strings.CutSuffix(s.artifact, "_step-"+s.task.Step); ok {
		return kind
	}
	return strings.TrimSuffix(s.artifact, "_"+s.task.Step)
}

// checkMissing reports an entry that has the form of an artifact's name but is none, and tells whether it did.
func (b *builder) checkMissing(s *Step, entry int, name string, kinds map[string]bool, longest int) bool {
	at := func() string { return b.parameterPointer(s, attachments, strconv.Itoa(entry)) }
	const longestID = 63 + len("step-")
	for k := len(name) - 2; k > 0 && k >= len(name)-1-longestID; k-- {
		if name[k] != '_' {
			continue
		}
		id := name[k+1:]
		producer, ok := b.index[id]
		if number, is := strings.CutPrefix(id, "step-"); !ok && is && isNumber(number) {
			producer, ok = b.index[number]
		}
		if !ok {
			continue
		}
		if p := &b.steps[producer]; p.spec == nil {
			return false // what it leaves is not known; its own problem comes first
		} else if p.artifact == "" {
			b.problem(s.index, schema.CodeMissingArtifact, at(), "", "attachment %s: %s leaves no artifact", wording.Quote(name), b.called(int(producer)))
		} else {
			b.problem(s.index, schema.CodeMissingArtifact, at(), p.artifact, "attachment %s: %s leaves another artifact", wording.Quote(name), b.called(int(producer)))
		}
		return true
	}
	for k := 1; k <= longest && k < len(name)-1; k++ {
		if name[k] == '_' && kinds[name[:k]] && isID(name[k+1:]) {
			b.problem(s.index, schema.CodeMissingArtifact, at(), "", "attachment %s: the plan has no step %s to leave it", wording.Quote(name), strings.TrimPrefix(name[k+1:], "step-"))
			return true
		}
	}
	return false
}

// checkProducers makes data edges of the references of a step. What leaves an artifact must have ended by then.
func (b *builder) checkProducers(s *Step) {
	if len(s.references) == 0 || !b.sound {
		return
	}
	g, place := b.graph, b.graph.place[s.index]
	for _, r := range s.references {
		place = min(place, g.place[r.producer])
	}
	b.search.ancestors(int32(s.index), place, 0, nil)
	first := len(b.data)
	wrong := 0
	for _, r := range s.references {
		if b.search.marked(r.producer) {
			b.data = append(b.data, Edge{r.producer, int32(s.index)})
			continue
		}
		if wrong++; wrong > maxListProblems {
			continue
		}
		reason := " need not have ended by then: add it to the dependencies"
		if b.graph.Reaches(s.index, int(r.producer)) {
			reason = " leaves it only after this step has begun"
		}
		b.problem(s.index, schema.CodeMissingArtifact, b.parameterPointer(s, attachments, strconv.Itoa(r.entry)), "",
			"attachment %s: %s%s", wording.Quote(s.task.Parameters.Strings(attachments)[r.entry]), b.called(int(r.producer)), reason)
	}
	added := b.data[first:]
	slices.SortFunc(added, func(x, y Edge) int { return cmp.Compare(x.From, y.From) })
	b.data = b.data[:first+len(slices.Compact(added))]
}
