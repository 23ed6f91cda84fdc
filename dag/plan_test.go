package dag_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const plansDir = "../examples/plans"

func read(t testing.TB, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	require.NoError(t, err)
	return data
}

func load(t testing.TB, text string, opts ...dag.Option) *dag.Plan {
	t.Helper()
	p, err := dag.Load([]byte(text), actions.Canonical(), opts...)
	require.NoError(t, err)
	return p
}

// incident loads one of the four plans, with its overlay when laid is set.
func incident(t testing.TB, name string, laid bool) *dag.Plan {
	t.Helper()
	var opts []dag.Option
	if laid {
		overlay, err := schema.ParseOverlay(read(t, plansDir, name+".overlay.yaml"))
		require.NoError(t, err)
		opts = append(opts, dag.WithOverlay(overlay))
	}
	return load(t, string(read(t, plansDir, name+".json")), opts...)
}

// numbers writes groups as the table of the plans does: [1,2][3].
func numbers(groups [][]int) string {
	var b strings.Builder
	for _, g := range groups {
		for k, i := range g {
			b.WriteByte("[,"[min(k, 1)])
			fmt.Fprint(&b, i+1)
		}
		b.WriteByte(']')
	}
	return b.String()
}

func codes(problems []schema.Problem) []string {
	var s []string
	for _, p := range problems {
		s = append(s, fmt.Sprintf("%s %s", p.Step, p.Code))
	}
	return s
}

var incidents = []struct {
	name           string
	groups         string
	parallel       int
	asks           string // the steps whose document asks for approval
	pattern        dag.Pattern
	critical, work time.Duration
	warnings       []string
	final          string
	data           []dag.Edge
}{
	{"oomkill", "[1,2][3][4][5,6][7]", 2, "[4]", dag.ParallelDiagnosticsFix, 6*time.Minute + 10*time.Second, 7*time.Minute + 40*time.Second,
		[]string{"rec-004 redundant-step"}, "[4]", []dag.Edge{{From: 0, To: 6}}},
	{"cascading-failure", "[1][2][3][4][5][6,7][8][9]", 1, "", dag.FixCascadeRestart, 5*time.Minute + 30*time.Second, 7 * time.Minute,
		nil, "[3,6,7]", nil},
	{"alert-storm", "[1][2][3][4,5]", 1, "", dag.CorrelateFixSilence, 7*time.Minute + 40*time.Second, 7*time.Minute + 50*time.Second,
		nil, "[3]", nil},
	{"database-deadlock", "[1,2][3][4][5][6]", 1, "[3]", dag.ParallelDiagnosticsFix, 4*time.Minute + 40*time.Second, 5*time.Minute + 40*time.Second,
		nil, "[3,4]", []dag.Edge{{From: 0, To: 5}}},
}

func TestLoad_reads_the_four_incidents_as_their_table_says(t *testing.T) {
	for _, want := range incidents {
		for _, laid := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s overlay=%t", want.name, laid), func(t *testing.T) {
				p := incident(t, want.name, laid)
				require.Equal(t, want.groups, numbers(p.Groups()))
				require.Equal(t, dag.SequentialWithParallel, p.Strategy())
				require.Equal(t, want.parallel, p.ParallelGroups())
				require.Equal(t, want.pattern, p.Pattern())
				require.Equal(t, want.warnings, codes(p.Warnings()))
				require.Empty(t, p.Writers())
				require.Equal(t, want.data, p.DataEdges())
				var asks []int
				for i := range p.Len() {
					s := p.Step(i)
					require.Equal(t, i, s.Index())
					require.Equal(t, i+1, s.Number())
					at, ok := p.Index(s.ID())
					require.True(t, ok)
					require.Equal(t, i, at)
					for k, group := range p.Groups() {
						for _, m := range group {
							if m == i {
								require.Equal(t, k, p.Group(i))
							}
						}
					}
					if s.RequiresApproval() {
						asks = append(asks, i)
					}
				}
				require.Equal(t, want.asks, strings.TrimSuffix(numbers([][]int{asks}), "]")+strings.Repeat("]", min(1, len(asks))))
				require.Equal(t, want.final, numbers([][]int{p.PointsOfNoReturn()}))
				if laid {
					_, length := p.CriticalPath()
					require.Equal(t, want.critical, length)
					require.Equal(t, want.work, p.Work())
				}
			})
		}
	}
}

func TestLoad_says_of_the_oomkill_restart_that_its_approval_comes_too_late(t *testing.T) {
	w := incident(t, "oomkill", true).Warnings()
	require.Len(t, w, 1)
	require.Equal(t, "restarts the pods of Deployment production/payment-service, which step 3 (rec-003) already rolls by increase_resources, "+
		"and nothing between them changes what a restart would pick up; its approval comes too late: "+
		"step 3 already rolls these pods before anyone is asked", w[0].Message)
	require.Equal(t, "/recommendations/3/action", w[0].Pointer)
	require.Equal(t, 47, w[0].Line)
}

func TestLoad_fills_the_only_namespace_of_a_plan_and_says_so(t *testing.T) {
	doc, err := schema.Parse(read(t, plansDir, "cascading-failure.json"))
	require.NoError(t, err)
	p, err := dag.Build(doc, actions.Canonical())
	require.NoError(t, err)
	var filled []string
	for _, r := range doc.Repairs {
		require.Equal(t, schema.RepairNamespace, r.Kind)
		require.Contains(t, r.Message, "production")
		filled = append(filled, r.Pointer)
	}
	require.Equal(t, []string{"/recommendations/2/parameters", "/recommendations/3/parameters",
		"/recommendations/5/parameters", "/recommendations/6/parameters"}, filled)
	require.Equal(t, schema.Target{Kind: "Deployment", Namespace: "production", Name: "checkout-service"}, p.Step(5).Target())
	require.Equal(t, "production", p.Step(5).Parameters().String("namespace"))
	require.Empty(t, p.Step(0).Parameters().String("namespace"), "an optional namespace is never filled")

	_, err = dag.Load(read(t, plansDir, "cascading-failure.json"), actions.Canonical(), dag.Reading(schema.Strict()))
	require.ErrorContains(t, err, "repair-refused")

	p = load(t, string(read(t, plansDir, "cascading-failure.json")), dag.Reading(schema.Strict()), dag.Namespace("staging"))
	require.Equal(t, "staging", p.Step(5).Target().Namespace, "the caller's word is no repair and goes first")
	require.Equal(t, "production", p.Step(1).Target().Namespace, "and replaces nothing")
}

func TestBuild_takes_from_the_overlay_what_it_says(t *testing.T) {
	const text = `{"recommendations": [
		{"id": "a", "action": "scale_deployment", "name": "From the document", "timeout": "2m",
		 "parameters": {"namespace": "shop", "deployment": "web", "replicas": 3}},
		{"id": "b", "action": "scale_deployment", "dependencies": ["a"], "timeout": "2m",
		 "parameters": {"namespace": "shop", "deployment": "web", "replicas": 4}},
		{"id": "c", "action": "collect_diagnostics", "dependencies": ["b"], "parameters": {"pod": "x"}}]}`
	p := load(t, text, dag.WithOverlay(&schema.Overlay{
		Steps: map[string]schema.StepOverlay{
			"b": {Name: "Title", Label: "label", Note: "note", Timeout: time.Hour, Duration: 3 * time.Minute, ContinueOnFailure: true, Always: true},
		},
		Actions: map[string]schema.ActionOverlay{
			"scale_deployment": {Timeout: 40 * time.Minute, Duration: time.Minute},
			"drain_node":       {Timeout: time.Minute},
		},
	}))
	a, b, c := p.Step(0), p.Step(1), p.Step(2)
	require.Equal(t, []any{"From the document", "scale_deployment", ""}, []any{a.Name(), a.Label(), a.Note()})
	require.Equal(t, []time.Duration{40 * time.Minute, time.Minute}, []time.Duration{a.Timeout(), a.Duration()})
	require.Equal(t, []bool{false, false}, []bool{a.ContinueOnFailure(), a.Always()})
	require.Equal(t, []any{"Title", "label", "note"}, []any{b.Name(), b.Label(), b.Note()})
	require.Equal(t, []time.Duration{time.Hour, 3 * time.Minute}, []time.Duration{b.Timeout(), b.Duration()})
	require.Equal(t, []bool{true, true}, []bool{b.ContinueOnFailure(), b.Always()})
	require.Equal(t, schema.RiskLow, b.Risk(), "a person's time-out may be longer than the registry's")
	require.Equal(t, []time.Duration{5 * time.Minute, 75 * time.Second}, []time.Duration{c.Timeout(), c.Duration()})
	require.Equal(t, actions.Canonical().Lookup("collect_diagnostics").Title, c.Name())
	require.Equal(t, []int{1}, c.Dependencies())
}

func TestBuild_refuses_an_overlay_for_what_is_not_there_as_the_callers_error(t *testing.T) {
	doc := `{"recommendations": [{"id": "a", "action": "notify_only"}]}`
	for _, tt := range []struct {
		name    string
		overlay schema.Overlay
		want    string
	}{
		{"names", schema.Overlay{
			Steps:   map[string]schema.StepOverlay{"z": {}, "y": {}, "a": {}},
			Actions: map[string]schema.ActionOverlay{"brew": {}, "drain_node": {}},
		}, `overlay: the plan has no step "y"; the plan has no step "z"; the registry has no action "brew"`},
		{"durations", schema.Overlay{
			Steps:   map[string]schema.StepOverlay{"a": {Timeout: -1}},
			Actions: map[string]schema.ActionOverlay{"drain_node": {Duration: -1}},
		}, `overlay: a duration of step "a" is negative; a duration of action "drain_node" is negative`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := dag.Load([]byte(doc), actions.Canonical(), dag.WithOverlay(&tt.overlay))
			require.EqualError(t, err, tt.want)
			var problems *schema.Error
			require.NotErrorAs(t, err, &problems)
		})
	}
}

func TestBuild_refuses_what_the_caller_got_wrong(t *testing.T) {
	_, err := dag.Build(nil, actions.Canonical())
	require.ErrorContains(t, err, "a plan needs a document and a registry")
	_, err = dag.Build(&schema.Document{}, nil)
	require.ErrorContains(t, err, "a plan needs a document and a registry")
	for _, opt := range []dag.Option{dag.Namespace("Not A Label"), dag.Namespace("-a"), dag.Protect("x", "kube_system")} {
		_, err = dag.Build(&schema.Document{}, actions.Canonical(), opt)
		require.ErrorContains(t, err, "is not an RFC 1123 label")
	}
}

func TestBuild_checks_a_document_that_was_built_by_hand(t *testing.T) {
	much := 1.5
	doc := &schema.Document{Recommendations: []schema.Recommendation{
		{ID: "", Action: "notify_only"},
		{ID: "a\x1b[31m", Action: "notify_only"},
		{ID: "a", Action: ""},
		{ID: "a", Action: "notify_only", Risk: 99, Timeout: -1, Confidence: &much},
		{ID: strings.Repeat("x", 64), Action: "brew \u202e", Dependencies: []string{"a\x00"}},
		{ID: "\x13", Action: "notify_only"},
	}}
	_, err := dag.Build(doc, actions.Canonical())
	require.Equal(t, []string{
		" missing-field", " invalid-value", "a missing-field", "a duplicate-id", "a invalid-value", "a invalid-value", "a invalid-value",
		" invalid-value", " forbidden-character", " forbidden-character", " invalid-value", " unknown-action", " missing-dependency",
	}, codes(doc.Problems))
	for _, r := range err.Error() {
		require.True(t, r == '\n' || r >= ' ' && r != '\u202e', "%q in a message", r)
	}
	doc = &schema.Document{}
	_, err = dag.Build(doc, actions.Canonical())
	require.EqualError(t, err, "error: missing-field: the document has no recommendations")
}

func TestBuild_keeps_nothing_that_a_change_of_the_document_could_reach(t *testing.T) {
	rate, confidence, ask := 0.5, 0.9, true
	patch := map[string]any{"A": "1"}
	doc := &schema.Document{HistoricalSuccessRate: &rate, Recommendations: []schema.Recommendation{
		{ID: "a", Action: "patch_config_map", Confidence: &confidence, RequiresApproval: &ask,
			Parameters: map[string]any{"namespace": "shop", "configMap": "web", "patch": patch}},
		{ID: "b", Action: "notify_only", Dependencies: []string{"a"}},
	}}
	p, err := dag.Build(doc, actions.Canonical())
	require.NoError(t, err)
	digest, manifest := p.Digest(), p.Manifest("n", "", "", nil)
	patch["A"] = "2"
	rate, confidence, ask = 0, 0, false
	doc.Recommendations[0].Parameters["namespace"] = "bank"
	doc.Recommendations[1].Dependencies[0] = "b"
	doc.Recommendations[0].ID = "z"
	require.Equal(t, digest, p.Digest())
	require.Equal(t, map[string]string{"A": "1"}, p.Step(0).Parameters().Get("patch"))
	require.Equal(t, "shop", p.Step(0).Parameters().String("namespace"))
	require.Equal(t, manifest, p.Manifest("n", "", "", nil))
	got, ok := p.SuccessRate()
	require.True(t, ok)
	require.Equal(t, 0.5, got)
	got, ok = p.Step(0).Confidence()
	require.True(t, ok)
	require.Equal(t, 0.9, got)
	_, ok = p.Step(1).Confidence()
	require.False(t, ok)
	require.True(t, p.Step(0).RequiresApproval())
}

func TestPlan_ranks_the_longest_rest_first_and_ties_by_position(t *testing.T) {
	p := load(t, `{"recommendations": [
		{"id": "a", "action": "notify_only"},
		{"id": "b", "action": "notify_only"},
		{"id": "c", "action": "collect_diagnostics", "parameters": {"pod": "x"}},
		{"id": "d", "action": "notify_only", "dependencies": ["b"]},
		{"id": "e", "action": "notify_only", "dependencies": ["a"]}]}`)
	require.Equal(t, []int32{1, 2, 0, 3, 4}, p.Ranks())
	path, length := p.CriticalPath()
	require.Equal(t, []int{2}, path)
	require.Equal(t, 75*time.Second, length)
	require.Equal(t, 135*time.Second, p.Work())
}

func TestPlan_strategy(t *testing.T) {
	one := `{"id": "a", "action": "notify_only"}`
	require.Equal(t, dag.Sequential, load(t, `[`+one+`]`).Strategy())
	require.Equal(t, dag.Parallel, load(t, `[`+one+`, {"id": "b", "action": "notify_only"}]`).Strategy())
	require.Equal(t, dag.Sequential, load(t, `[`+one+`, {"id": "b", "action": "notify_only", "dependencies": ["a"]}]`).Strategy())
	_, ok := load(t, `[`+one+`]`).Index("z")
	require.False(t, ok)
}

func TestPlan_hands_over_what_the_document_says_of_the_whole(t *testing.T) {
	p := incident(t, "oomkill", false)
	require.Equal(t, "4 minutes", p.Estimate().Text)
	rate, ok := p.SuccessRate()
	require.True(t, ok)
	require.Equal(t, 0.92, rate)
	require.False(t, p.ApprovalRequired())
	s := p.Step(0)
	require.Equal(t, "Capture heap dump before any changes", s.Description())
	require.Equal(t, "Preserve memory state for root cause analysis", s.Rationale())
	require.Equal(t, "heap_dump_rec-001", s.Artifact())
	require.Equal(t, "collect_diagnostics", s.Action())
	require.Equal(t, s.Action(), s.Spec().Name)
	require.False(t, s.Mutating())
	require.False(t, s.Gate())
	require.True(t, p.Step(2).Gate())
	require.True(t, p.Step(2).Reversible())
	require.False(t, p.Step(3).Reversible())
}
