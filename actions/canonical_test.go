package actions_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

// canonicalTable is written by hand, apart from the Specs: name, category, effect letter, floor, time-out in minutes,
// required parameters, whether it can be undone.
const canonicalTable = `
scale_deployment      core       M low    5  namespace,deployment,replicas undo
restart_pod           core       M medium 10 namespace                     -
increase_resources    core       M low    10 namespace                     undo
rollback_deployment   core       M medium 10 namespace,deployment          undo
expand_pvc            core       M medium 10 namespace,pvc,size            -
drain_node            infra      M high   15 node                          undo
cordon_node           infra      M medium 1  node                          undo
uncordon_node         infra      M low    1  node                          undo
taint_node            infra      M medium 1  node,key,effect               undo
untaint_node          infra      M low    1  node,key                      undo
quarantine_pod        infra      M medium 2  namespace,pod                 undo
cleanup_storage       storage    M high   10 namespace,path                -
backup_data           storage    X low    30 namespace                     -
compact_storage       storage    M medium 60 namespace                     -
update_hpa            app        M low    1  namespace,hpa                 undo
restart_daemonset     app        M medium 10 namespace,daemonset           -
scale_statefulset     app        M medium 10 namespace,statefulset,replicas undo
restart_statefulset   app        M high   15 namespace,statefulset         -
rolling_restart_pods  app        M medium 10 namespace                     -
patch_config_map      app        M low    1  namespace,configMap,patch     undo
rotate_secrets        security   M high   10 namespace,secret              undo
audit_logs            security   R none   5  namespace                     -
update_network_policy security   M high   1  namespace,networkPolicy,rules undo
restart_network       network    M high   10 component                     -
reset_service_mesh    network    M high   15 namespace                     -
failover_database     database   M high   10 namespace,database            -
repair_database       database   M high   30 namespace,database,repairType -
enable_debug_mode     monitoring M low    10 namespace                     undo
create_heap_dump      monitoring R low    5  namespace                     -
collect_diagnostics   monitoring R none   5  -                             -
optimize_resources    resource   M medium 10 namespace                     undo
migrate_workload      resource   M high   15 namespace                     undo
health_check          verify     R none   2  -                             -
verify_recovery       verify     R none   5  services                      -
correlate_alerts      alerts     R none   1  alerts                        -
silence_alerts        alerts     X low    1  alerts,duration               undo
update_git_manifests  gitops     X low    5  repository,path,patch         undo
notify_only           fallback   X none   1  -                             -
`

func TestTheCanonicalTableIsKept(t *testing.T) {
	letters := map[actions.Effect]string{actions.Reads: "R", actions.Mutates: "M", actions.External: "X"}
	specs := actions.Canonical().Specs()
	lines := strings.Split(strings.TrimSpace(canonicalTable), "\n")
	require.Len(t, specs, 38)
	require.Len(t, lines, 38)
	for i, line := range lines {
		want, s := strings.Fields(line), specs[i]
		require.Equal(t, want[0], s.Name)
		require.Equal(t, want[1], s.Category, s.Name)
		require.Equal(t, want[2], letters[s.Effect], s.Name)
		require.Equal(t, want[3], s.RiskFloor.String(), s.Name)
		minutes, err := time.ParseDuration(want[4] + "m")
		require.NoError(t, err)
		require.Equal(t, minutes, s.Timeout, s.Name)
		var needs []string
		for _, p := range s.Parameters {
			if p.Required {
				needs = append(needs, p.Name)
			}
			require.NotEmpty(t, p.Description, "%s.%s", s.Name, p.Name)
		}
		// Documentation gives services and alerts before the rest; only the set counts.
		require.ElementsMatch(t, splitList(want[5]), needs, s.Name)
		require.Equal(t, want[6] == "undo", s.Reversible(), s.Name)
		require.Equal(t, want[2] != "R" && s.Name != "notify_only", s.Mutating(), s.Name)
		require.Equal(t, min(minutes/4, 2*time.Minute), s.Estimate(), s.Name)
		require.NotEmpty(t, s.Title)
		require.NotEmpty(t, s.Does)
		require.NotEmpty(t, s.Done)
	}
}

func splitList(s string) []string {
	if s == "-" {
		return nil
	}
	return strings.Split(s, ",")
}

func TestOptionalParametersAndDefaultsOfTheTable(t *testing.T) {
	// Written by hand: every parameter that is not required, with its default.
	table := map[string]string{
		"scale_deployment":      "waitForReady=true force=false",
		"restart_pod":           "pod deployment statefulset daemonset strategy=rolling gracePeriodSeconds=30 waitForReady=true force=false stableFor=10s",
		"increase_resources":    "deployment statefulset daemonset memory cpu memoryRequest cpuRequest container stableFor=10s",
		"rollback_deployment":   "revision=previous waitForReady=true stableFor=10s",
		"expand_pvc":            "waitForExpansion=true",
		"drain_node":            "gracePeriodSeconds ignoreDaemonSets=true deleteEmptyDirData=false force=false podSelector",
		"cordon_node":           "",
		"uncordon_node":         "verifyHealth=true",
		"taint_node":            "value overwrite=false",
		"untaint_node":          "effect verifyHealth=true",
		"quarantine_pod":        "removeFromService=true quarantineLabel",
		"cleanup_storage":       "pod deployment statefulset daemonset ageThreshold=7d dryRun=false",
		"backup_data":           "deployment statefulset daemonset pvc pod database paths destination retentionDays=30",
		"compact_storage":       "pod deployment statefulset daemonset volume",
		"update_hpa":            "minReplicas maxReplicas targetCPUUtilization targetMemoryUtilization",
		"restart_daemonset":     "strategy stableFor=10s",
		"scale_statefulset":     "waitForReady=true force=false",
		"restart_statefulset":   "strategy=rolling stableFor=10s",
		"rolling_restart_pods":  "deployment statefulset daemonset strategy waitForReady=true stableFor=10s",
		"patch_config_map":      "",
		"rotate_secrets":        "keys restartPods=true backupOldSecret=true",
		"audit_logs":            "deployment statefulset daemonset pod timeRange=24h outputFormat=json",
		"update_network_policy": "",
		"restart_network":       "namespace stableFor=10s",
		"reset_service_mesh":    "meshType stableFor=10s",
		"failover_database":     "targetReplica force=false",
		"repair_database":       "backupBeforeRepair=true",
		"enable_debug_mode":     "deployment statefulset daemonset debugFlags env duration=1h autoRevert=true stableFor=10s",
		"create_heap_dump":      "pod deployment statefulset daemonset outputPath liveObjectsOnly=true",
		"collect_diagnostics":   "namespace deployment statefulset daemonset pod database type metrics includeLogs=true includeMetrics=true includeEvents=true timeRange=1h",
		"optimize_resources":    "deployment statefulset daemonset strategy dryRun=true stableFor=10s",
		"migrate_workload":      "deployment statefulset daemonset targetNode targetCluster drainSource=false stableFor=10s",
		"health_check":          "deployment statefulset daemonset service services pod namespace endpoint expectedStatus=200",
		"verify_recovery":       "namespace healthEndpoint stableFor=30s",
		"correlate_alerts":      "correlationWindow=5m",
		"silence_alerts":        "",
		"update_git_manifests":  "createPR=true baseBranch",
		"notify_only":           "message type channel project priority severity attachments",
	}
	for _, s := range actions.Canonical().Specs() {
		var got []string
		reasons := 0
		for _, p := range s.Parameters {
			switch {
			case p.Name == "reason":
				reasons++
			case p.Required:
			case p.Default == nil:
				got = append(got, p.Name)
			default:
				b, err := json.Marshal(p.Default)
				require.NoError(t, err)
				got = append(got, p.Name+"="+strings.Trim(string(b), `"`))
			}
		}
		require.Equal(t, table[s.Name], strings.Join(got, " "), s.Name)
		require.Equal(t, 1, reasons, "%s accepts a reason once", s.Name)
	}
}

func TestCanonicalSpecsAsJSON(t *testing.T) {
	got, err := json.MarshalIndent(actions.Canonical().Specs(), "", "  ")
	require.NoError(t, err)
	golden(t, "specs.json", append(got, '\n'))
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(string(want), string(got)), "run go test -update and read the difference")
}

func TestRegistriesDoNotShareMemory(t *testing.T) {
	a, b := actions.Canonical(), actions.Canonical()
	a.Lookup("restart_pod").Parameters[0].Name = "changed"
	a.Lookup("silence_alerts").Parameters[0].Refuse[0] = "changed"
	require.Equal(t, "namespace", b.Lookup("restart_pod").Parameters[0].Name)
	require.Equal(t, "*", b.Lookup("silence_alerts").Parameters[0].Refuse[0])
	require.Equal(t, "*", a.Lookup("correlate_alerts").Parameters[0].Refuse[0])
}
