package render_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/dag/render"
	"github.com/remedykit/remedy/schema"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// A tester is a test, or one draw of a property.
type tester interface {
	require.TestingT
	Helper()
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", name, diff)
	}
}

// incidents are the example plans; the waits are how long a person takes to decide, by step.
var incidents = []struct {
	name  string
	gates map[int]time.Duration
	total string
}{
	{"oomkill", map[int]time.Duration{3: time.Minute}, "Total: 7m10s (includes 1m waiting for approval)"},
	{"cascading-failure", nil, "Total: 5m30s"},
	{"alert-storm", nil, "Total: 7m40s"},
	{"database-deadlock", map[int]time.Duration{2: 90 * time.Second}, "Total: 6m10s (includes 1m30s waiting for approval)"},
}

// incident loads an example plan with its overlay.
func incident(t tester, name string) *dag.Plan {
	t.Helper()
	dir := filepath.Join("..", "..", "examples", "plans")
	data, err := os.ReadFile(filepath.Join(dir, name+".json"))
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(dir, name+".overlay.yaml"))
	require.NoError(t, err)
	overlay, err := schema.ParseOverlay(text)
	require.NoError(t, err)
	p, err := dag.Load(data, actions.Canonical(), dag.WithOverlay(overlay))
	require.NoError(t, err)
	return p
}

// A sketch is a plan for a test, of steps that only read.
type sketch struct {
	deps  [][]int // by step
	steps map[int]schema.StepOverlay
	gated map[int]bool
}

func stepID(i int) string { return fmt.Sprintf("s%d", i+1) }

func (s sketch) build(t tester) *dag.Plan {
	t.Helper()
	reg := actions.Canonical()
	require.NoError(t, reg.Add(actions.Spec{
		Name: "probe", Effect: actions.Reads, Role: actions.Diagnoses, RiskFloor: schema.RiskNone,
		Timeout: 4 * time.Minute, AnyParameters: true,
	}))
	doc := &schema.Document{}
	overlay := &schema.Overlay{Steps: map[string]schema.StepOverlay{}}
	for i, deps := range s.deps {
		rec := schema.Recommendation{ID: stepID(i), Action: "probe"}
		for _, j := range deps {
			rec.Dependencies = append(rec.Dependencies, stepID(j))
		}
		if s.gated[i] {
			yes := true
			rec.RequiresApproval = &yes
		}
		doc.Recommendations = append(doc.Recommendations, rec)
		if o, ok := s.steps[i]; ok {
			overlay.Steps[stepID(i)] = o
		}
	}
	p, err := dag.Build(doc, reg, dag.WithOverlay(overlay))
	require.NoError(t, err)
	return p
}

// chain is a plan of n steps one after the other, fan one of n steps between two.
func chain(n int) [][]int {
	deps := make([][]int, n)
	for i := range deps[1:] {
		deps[i+1] = []int{i}
	}
	return deps
}

func fan(n int) [][]int {
	deps := make([][]int, n+2)
	for i := range n {
		deps[i+1] = []int{0}
		deps[n+1] = append(deps[n+1], i+1)
	}
	return deps
}

// formats are the drawings of a plan.
var formats = []struct {
	ext  string
	draw func(*dag.Plan, render.View) string
}{
	{"box.txt", render.Box},
	{"tree.txt", render.Tree},
	{"mmd", render.Mermaid},
	{"dot", render.DOT},
	{"svg", render.SVG},
}

// rehearse runs a plan on paper: every step starts when its dependencies are done and, when gated, approved.
func rehearse(p *dag.Plan, gates map[int]time.Duration) render.Run {
	r := render.Run{Status: "succeeded"}
	ends := make([]time.Duration, p.Len())
	for _, i := range p.Graph().Order() {
		s := render.Span{Step: int(i), Started: true, Status: "succeeded"}
		for _, j := range p.Step(int(i)).Dependencies() {
			s.Start = max(s.Start, ends[j])
		}
		if wait, ok := gates[int(i)]; ok {
			s.Gated, s.Answered, s.By = true, true, "alice"
			s.Asked, s.Decided = s.Start, s.Start+wait
			s.Start = s.Decided
		}
		s.End = s.Start + p.Step(int(i)).Duration()
		ends[i] = s.End
		r.End = max(r.End, s.End)
		r.Spans = append(r.Spans, s)
	}
	return r
}

func TestIncidentsLookAsTheGoldenFiles(t *testing.T) {
	for _, in := range incidents {
		p := incident(t, in.name)
		gated := func(i int) bool { _, ok := in.gates[i]; return ok }
		for _, f := range formats {
			t.Run(in.name+"."+f.ext, func(t *testing.T) {
				golden(t, in.name+"."+f.ext, f.draw(p, render.View{Gated: gated}))
			})
		}
		t.Run(in.name+".timeline.txt", func(t *testing.T) {
			got := render.Timeline(p, rehearse(p, in.gates))
			golden(t, in.name+".timeline.txt", got)
			require.True(t, strings.HasSuffix(got, in.total+"\n"), got)
		})
	}
}

func TestTheReferenceDrawingsComeOutCharacterForCharacter(t *testing.T) {
	for file, got := range map[string]string{ // written by hand, never updated
		"seed-box.txt":  render.Box(incident(t, "oomkill"), render.View{}),
		"seed-tree.txt": render.Tree(incident(t, "cascading-failure"), render.View{}),
	} {
		want, err := os.ReadFile(filepath.Join("testdata", file))
		require.NoError(t, err)
		require.Equal(t, string(want), got, file)
	}
}
