package dag_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/dag"
)

// sketch builds a plan from lines of "id: action-shorthand after dependencies".
func sketch(t *testing.T, lines ...string) *dag.Plan {
	t.Helper()
	shorthand := map[string]string{
		"diagnose":  `"action": "collect_diagnostics", "parameters": {"namespace": "shop", "deployment": "%s"}`,
		"backup":    `"action": "backup_data", "parameters": {"namespace": "shop", "deployment": "%s"}`,
		"fix":       `"action": "patch_config_map", "parameters": {"namespace": "shop", "configMap": "%s", "patch": {"A": "1"}}`,
		"restart":   `"action": "rolling_restart_pods", "parameters": {"namespace": "shop", "deployment": "%s"}`,
		"verify":    `"action": "health_check", "parameters": {"namespace": "shop", "deployment": "%s", "endpoint": "/"}`,
		"correlate": `"action": "correlate_alerts", "parameters": {"alerts": ["%s"]}`,
		"silence":   `"action": "silence_alerts", "parameters": {"alerts": ["%s"], "duration": "5m"}`,
		"tell":      `"action": "notify_only", "parameters": {"message": "%s"}`,
	}
	var steps []string
	for _, line := range lines {
		id, rest, _ := strings.Cut(line, ": ")
		action, after, _ := strings.Cut(rest, " after ")
		deps := ""
		for _, d := range strings.Fields(after) {
			deps += fmt.Sprintf(", %q", d)
		}
		steps = append(steps, fmt.Sprintf(`{"id": %q, %s, "dependencies": [%s]}`, id, fmt.Sprintf(shorthand[action], id), strings.TrimPrefix(deps, ", ")))
	}
	return load(t, "["+strings.Join(steps, ",\n")+"]")
}

func TestPattern_is_recognised_by_roles_and_dependencies(t *testing.T) {
	for _, tt := range []struct {
		name  string
		want  dag.Pattern
		steps []string
	}{
		{"diagnose, fix, verify", dag.DiagnosticFixVerify, []string{"d: diagnose", "f: fix after d", "v: verify after f"}},
		{"a check is evidence too", dag.DiagnosticFixVerify, []string{"c: verify", "f: restart after c", "t: tell after f", "v: verify after t"}},
		{"nothing verified", "", []string{"d: diagnose", "f: fix after d", "t: tell after f"}},
		{"nothing diagnosed", "", []string{"f: fix", "v: verify after f"}},
		{"verified apart from the fix", "", []string{"d: diagnose", "f: fix after d", "v: verify after d"}},
		{"nothing fixed", "", []string{"d: diagnose", "e: diagnose", "v: verify after d e"}},
		{"two sources at once", dag.ParallelDiagnosticsFix, []string{"d: diagnose", "b: backup", "f: fix after d b"}},
		{"two sources through a step that gathers", dag.ParallelDiagnosticsFix,
			[]string{"d: diagnose", "b: backup", "t: tell after d b", "f: fix after t", "v: verify after f"}},
		{"two sources one after the other", dag.DiagnosticFixVerify, []string{"d: diagnose", "b: backup after d", "f: fix after d b", "v: verify after f"}},
		{"two sources after the fix", dag.DiagnosticFixVerify,
			[]string{"d: diagnose", "f: fix after d", "a: diagnose after f", "b: backup after f", "g: fix after a b", "v: verify after g"}},
		{"a cascade", dag.FixCascadeRestart, []string{"d: diagnose", "f: fix after d", "a: restart after f", "b: restart after f", "v: verify after a b"}},
		{"a cascade behind a restart", dag.FixCascadeRestart, []string{"c: restart", "v: verify after c", "a: restart after v", "b: restart after v"}},
		{"restarts without a root cause", "", []string{"a: restart", "b: restart"}},
		{"restarts one after the other", "", []string{"f: fix", "a: restart after f", "b: restart after a"}},
		{"restarts behind different fixes", "", []string{"f: fix", "g: fix", "a: restart after f", "b: restart after g"}},
		{"correlate, fix, silence", dag.CorrelateFixSilence,
			[]string{"c: correlate", "v: verify after c", "f: restart after v", "s: silence after f", "w: verify after s"}},
		{"silenced before the fix", dag.DiagnosticFixVerify, []string{"c: correlate", "s: silence after c", "f: fix after s", "v: verify after f"}},
	} {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, sketch(t, tt.steps...).Pattern()) })
	}
}
