package dag_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

// uncommented drops comments and the space before them; none of the manifests has a "#" in a value.
func uncommented(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if at := strings.Index(line, "#"); at >= 0 {
			if line = strings.TrimRight(line[:at], " "); line == "" {
				continue
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestManifest_of_oomkill_is_the_one_that_is_published(t *testing.T) {
	p := incident(t, "oomkill", true)
	got := p.Manifest("aianalysis-oomkill-12345-workflow", "", "remediation-oomkill-12345", nil).YAML()
	want := uncommented(string(read(t, plansDir, "oomkill.workflowexecution.yaml")))
	require.Equal(t, want, string(got))
}

// requireSamePlan holds what a manifest must keep when it is read back. gated tells which steps it gates.
func requireSamePlan(t require.TestingT, want, got *dag.Plan, gated func(i int) bool) {
	require.Equal(t, want.Len(), got.Len())
	for i := range want.Len() {
		a, b := want.Step(i), got.Step(i)
		require.Equal(t, fmt.Sprint(i+1), b.ID())
		require.Equal(t, a.Action(), b.Action())
		require.Equal(t, a.Name(), b.Name())
		require.Equal(t, a.Dependencies(), b.Dependencies())
		require.Equal(t, a.Timeout(), b.Timeout())
		require.Equal(t, a.Target(), b.Target())
		require.Equal(t, a.Gate(), b.Gate())
		require.True(t, b.RequiresApproval() || !a.RequiresApproval() && !gated(i))
		require.GreaterOrEqual(t, b.Risk(), a.Spec().RiskFloor)
		if !a.Parameters().Given("attachments") {
			require.Equal(t, string(a.Parameters().AppendJSON(nil)), string(b.Parameters().AppendJSON(nil)))
		}
	}
	require.Equal(t, want.DataEdges(), got.DataEdges())
}

func TestManifest_reads_back_as_the_same_plan(t *testing.T) {
	for _, tt := range incidents {
		for _, laid := range []bool{false, true} {
			p := incident(t, tt.name, laid)
			gated := func(i int) bool { return p.Step(i).Mutating() }
			text := p.Manifest("m", "", "", gated).YAML()
			doc, err := schema.Parse(text)
			require.NoError(t, err, "%s\n%s", tt.name, text)
			back, err := dag.Build(doc, actions.Canonical())
			require.NoError(t, err)
			requireSamePlan(t, p, back, gated)
			for i := range p.Len() {
				want := strings.ReplaceAll(p.Step(i).Artifact(), p.Step(i).ID(), fmt.Sprint("step-", i+1))
				require.Equal(t, want, back.Step(i).Artifact())
			}
			for _, r := range doc.Repairs {
				require.NotEqual(t, schema.RepairNamespace, r.Kind, "what was filled in is written out")
			}
			again := back.Manifest("m", "", "", nil).YAML()
			require.Equal(t, string(text), string(again), "a manifest of a manifest is the same")
		}
	}
}

func TestManifest_writes_parameters_as_the_document_spells_them(t *testing.T) {
	names := func(p *dag.Plan, i int) (names []string) {
		for _, v := range p.Manifest("m", "", "", nil).Spec.WorkflowDefinition.Steps[i].Parameters {
			names = append(names, fmt.Sprintf("%s=%v", v.Name, v.Value))
		}
		return names
	}
	p := load(t, `[
	  {"id": "a", "action": "restart_pod", "parameters": {"grace_period_seconds": 5, "ns": "shop", "pod": "web-0"}},
	  {"id": "b", "action": "restart_pod", "parameters": {"waitForReady": false, "target": {"kind": "Deployment", "name": "web", "namespace": "shop"}, "force": false}, "dependencies": ["a"]},
	  {"id": "c", "action": "rolling_restart_pods", "parameters": {"strategy": "rolling", "resource_name": "db", "resource_type": "statefulset"}, "dependencies": ["b"]},
	  {"id": "d", "action": "rolling_restart_pods", "targetResource": {"kind": "DaemonSet", "name": "agent", "namespace": "shop"}, "dependencies": ["c"]},
	  {"id": "e", "action": "notify_only", "parameters": {"z": 1, "message": "m", "a": [1, "x"]}, "dependencies": ["d"]}]`)
	require.Equal(t, []string{"grace_period_seconds=5", "ns=shop", "pod=web-0"}, names(p, 0))
	require.Equal(t, []string{"waitForReady=false", "deployment=web", "namespace=shop", "force=false"}, names(p, 1))
	require.Equal(t, []string{"strategy=rolling", "statefulset=db", "namespace=shop"}, names(p, 2))
	require.Equal(t, []string{"daemonset=agent", "namespace=shop"}, names(p, 3))
	require.Equal(t, []string{"z=1", "message=m", "a=[1 x]"}, names(p, 4))

	back := load(t, string(p.Manifest("m", "", "", nil).YAML()))
	requireSamePlan(t, p, back, func(int) bool { return false })
}

func TestManifest_metadata_and_times(t *testing.T) {
	p := load(t, `[
	  {"id": "a", "action": "notify_only", "timeout": "90s"},
	  {"id": "b", "action": "restart_pod", "timeout": "1h", "parameters": {"namespace": "shop", "pod": "web-0"}},
	  {"id": "c", "action": "notify_only", "timeout": "1h10m0s"},
	  {"id": "d", "action": "notify_only", "timeout": "1500ms"},
	  {"id": "e", "action": "notify_only", "timeout": "10m"}]`)
	w := p.Manifest("m", "", "", func(i int) bool { return i == 3 })
	require.Equal(t, "shop", w.Metadata.Namespace, "the first that a step names")
	require.Equal(t, "ops", p.Manifest("m", "ops", "", nil).Metadata.Namespace)
	require.Equal(t, "planning", w.Status.Phase)
	require.Equal(t, "automatic", w.Spec.ExecutionStrategy.RollbackStrategy)
	require.True(t, w.Spec.ExecutionStrategy.DryRunFirst)
	require.False(t, w.Spec.ExecutionStrategy.ApprovalRequired)
	var times []string
	for i, s := range w.Spec.WorkflowDefinition.Steps {
		times = append(times, s.Timeout)
		require.Equal(t, i == 3, s.RequiresApproval)
		require.NotNil(t, s.Dependencies)
	}
	require.Equal(t, []string{"1m30s", "1h", "1h10m", "1.5s", "10m"}, times)

	w.Spec.ExecutionStrategy.ApprovalRequired = true
	w.Spec.ExecutionStrategy.DryRunFirst = false
	w.Spec.ExecutionStrategy.RollbackStrategy = "none"
	back := load(t, string(w.YAML()))
	require.True(t, back.ApprovalRequired())
	again := back.Manifest("m", "", "", nil)
	require.True(t, again.Spec.ExecutionStrategy.ApprovalRequired)
	require.True(t, again.Spec.ExecutionStrategy.DryRunFirst, "what a manifest wishes away comes back")
	require.Equal(t, "automatic", again.Spec.ExecutionStrategy.RollbackStrategy)
}

// drawPlan draws a valid document of up to most steps.
func drawPlan(t *rapid.T, most int) *schema.Document {
	doc := &schema.Document{}
	n := rapid.IntRange(1, most).Draw(t, "steps")
	for i := range n {
		rec := schema.Recommendation{ID: fmt.Sprintf("s-%d", (i*7)%n*100+i), Parameters: map[string]any{}}
		object := fmt.Sprintf("o%d", rapid.IntRange(0, 4).Draw(t, "object"))
		switch rapid.IntRange(0, 6).Draw(t, "action") {
		case 0:
			rec.Action = "collect_diagnostics"
			rec.Parameters["deployment"] = object
			rec.Parameters["type"] = rapid.SampledFrom([]string{"heap_dump", "lock_graph"}).Draw(t, "type")
		case 1:
			rec.Action = "scale_deployment"
			rec.Parameters["deployment"] = object
			rec.Parameters["replicas"] = rapid.IntRange(0, 9).Draw(t, "replicas")
			rec.Parameters["wait_for_ready"] = rapid.Bool().Draw(t, "wait")
		case 2:
			rec.Action = "rolling_restart_pods"
			rec.Target = &schema.Target{Kind: "Deployment", Name: object, Namespace: "shop"}
		case 3:
			rec.Action = "patch_config_map"
			rec.Parameters["configMap"] = object
			rec.Parameters["patch"] = map[string]any{"K": rapid.SampledFrom([]string{"1", "true", "null", "~", "a: b", "# no comment", "'", `"`, " x ", "-", "0x1F", "1e3", "2001-01-01"}).Draw(t, "text")}
		case 4:
			rec.Action = "increase_memory_limit"
			rec.Parameters["resource_type"], rec.Parameters["resource_name"] = "statefulset", object
			rec.Parameters["memory"] = rapid.SampledFrom([]string{"1Gi", "2.5Gi", "3e9"}).Draw(t, "memory")
		case 5:
			rec.Action = "notify_only"
			rec.Parameters["message"] = rapid.StringMatching("[ -~\\n\\té]{0,20}").Draw(t, "message")
			rec.Parameters["level"] = rapid.SampledFrom([]any{1, 2.5, true, "3", nil, []any{"a", 1}, map[string]any{"b": "c"}}).Draw(t, "level")
		case 6:
			rec.Action = "silence_alerts"
			rec.Parameters["alerts"], rec.Parameters["duration"] = []any{"Down-" + object}, "5m"
		}
		if rec.Action != "notify_only" && rec.Action != "silence_alerts" && rec.Target == nil && rapid.Bool().Draw(t, "ns") {
			rec.Parameters["namespace"] = "shop"
		}
		if rapid.Bool().Draw(t, "has timeout") {
			rec.Timeout = time.Duration(rapid.IntRange(1, 90_000).Draw(t, "timeout")) * time.Second
		}
		if rapid.Bool().Draw(t, "has approval") {
			rec.RequiresApproval = new(rapid.Bool().Draw(t, "approval"))
		}
		rec.Risk = schema.Risk(rapid.IntRange(0, 5).Draw(t, "risk"))
		for range rapid.IntRange(0, 3).Draw(t, "dependencies") {
			if i > 0 {
				rec.Dependencies = append(rec.Dependencies, doc.Recommendations[rapid.IntRange(0, i-1).Draw(t, "on")].ID)
			}
		}
		doc.Recommendations = append(doc.Recommendations, rec)
	}
	return doc
}

func TestManifest_of_any_plan_reads_back_as_the_same_plan(t *testing.T) {
	reg := actions.Canonical()
	rapid.Check(t, func(t *rapid.T) {
		p, err := dag.Build(drawPlan(t, 12), reg, dag.Namespace("shop"))
		require.NoError(t, err)
		mask := rapid.Uint64().Draw(t, "gated")
		gated := func(i int) bool { return mask>>(i%64)&1 == 1 }
		text := p.Manifest("m", "", "r", gated).YAML()
		back, err := dag.Load(text, reg)
		require.NoError(t, err, string(text))
		requireSamePlan(t, p, back, gated)
	})
}
