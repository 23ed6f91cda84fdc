package actions_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// resolve reads params (JSON) as the parameters of one step.
func resolve(t testing.TB, action, params, fill string) (actions.Resolution, *schema.Document) {
	t.Helper()
	rec := schema.Recommendation{ID: "rec-001", Action: action}
	require.NoError(t, json.Unmarshal([]byte(params), &rec.Parameters))
	return resolveStep(t, rec, fill)
}

func resolveStep(t testing.TB, rec schema.Recommendation, fill string) (actions.Resolution, *schema.Document) {
	t.Helper()
	doc := &schema.Document{Recommendations: []schema.Recommendation{rec}}
	spec, _ := actions.Canonical().Resolve(rec.Action)
	require.NotNil(t, spec, rec.Action)
	return spec.Resolve(doc, 0, fill), doc
}

// told lists problems and repairs as "severity code: message".
func told(doc *schema.Document) []string {
	var out []string
	for _, p := range doc.Problems {
		s := fmt.Sprintf("%s %s: %s", p.Severity, p.Code, p.Message)
		if p.Suggestion != "" {
			s += " -> " + p.Suggestion
		}
		out = append(out, s)
	}
	for _, r := range doc.Repairs {
		out = append(out, fmt.Sprintf("repair %s: %s", r.Kind, r.Message))
	}
	return out
}

func TestWhatFitsIsAccepted(t *testing.T) {
	for _, test := range []struct{ action, params, want, target string }{
		{"scale_deployment", `{"namespace":"a","deployment":"api","replicas":3}`, "", "Deployment a/api"},
		{"scale_deployment", `{"namespace":"a","deployment":"api","replicas":3.0}`, `{"deployment":"api","namespace":"a","replicas":3}`, "Deployment a/api"},
		{"scale_deployment", `{"namespace":"a","deployment":"api","replicas":0,"reason":"night"}`, "", "Deployment a/api"},
		{"restart_pod", `{"namespace":"a","pod":"api-5d.x"}`, "", "Pod a/api-5d.x"},
		{"restart_pod", `{"namespace":"a","daemonset":"agent","gracePeriodSeconds":300}`, "", "DaemonSet a/agent"},
		{"increase_resources", `{"namespace":"a","statefulset":"db","memory":"2.5Gi","memoryRequest":"2560Mi"}`, "", "StatefulSet a/db"},
		{"increase_resources", `{"namespace":"a","deployment":"api","cpu":0.5,"cpuRequest":"500m"}`, `{"cpu":"0.5","cpuRequest":"500m","deployment":"api","namespace":"a"}`, "Deployment a/api"},
		{"increase_resources", `{"namespace":"a","deployment":"api","cpu":2}`, `{"cpu":"2","deployment":"api","namespace":"a"}`, "Deployment a/api"},
		{"rollback_deployment", `{"namespace":"a","deployment":"api","revision":"previous"}`, "", "Deployment a/api"},
		{"rollback_deployment", `{"namespace":"a","deployment":"api","revision":12}`, "", "Deployment a/api"},
		{"expand_pvc", `{"namespace":"a","pvc":"data","size":"1e3"}`, "", "PersistentVolumeClaim a/data"},
		{"drain_node", `{"node":"n1","gracePeriodSeconds":60}`, "", "Node n1"},
		{"taint_node", `{"node":"n1","key":"dedicated","effect":"NoSchedule","value":""}`, "", "Node n1"},
		{"cleanup_storage", `{"namespace":"a","pod":"p","path":"/var/log/","ageThreshold":"36h"}`, "", "Pod a/p"},
		{"backup_data", `{"namespace":"a","pvc":"data","retentionDays":365}`, "", "PersistentVolumeClaim a/data"},
		{"compact_storage", `{"namespace":"a","volume":"data"}`, "", "PersistentVolumeClaim a/data"},
		{"update_hpa", `{"namespace":"a","hpa":"h","minReplicas":2,"maxReplicas":2}`, "", "HorizontalPodAutoscaler a/h"},
		{"patch_config_map", `{"namespace":"a","configMap":"c","patch":{"b":"1","a":""}}`, `{"configMap":"c","namespace":"a","patch":{"a":"","b":"1"}}`, "ConfigMap a/c"},
		{"rotate_secrets", `{"namespace":"a","secret":"s","keys":[]}`, "", "Secret a/s"},
		{"audit_logs", `{"namespace":"a"}`, "", " "},
		{"update_network_policy", `{"namespace":"a","networkPolicy":"n","rules":[{"from":[]}]}`, "", "NetworkPolicy a/n"},
		{"restart_network", `{"component":"coredns"}`, "", "Component coredns"},
		{"failover_database", `{"namespace":"a","database":"orders"}`, "", "Database a/orders"},
		{"collect_diagnostics", `{"namespace":"a"}`, "", " "},
		{"collect_diagnostics", `{"deployment":"api","pod":"api-1","database":"orders"}`, "", "Deployment api"},
		{"migrate_workload", `{"namespace":"a","deployment":"api","targetCluster":"arn:aws:eks:x"}`, "", "Deployment a/api"},
		{"health_check", `{"service":"redis"}`, "", "Service redis"},
		{"health_check", `{"services":["a","b"]}`, "", " "},
		{"verify_recovery", `{"services":["a"],"stableFor":"2m"}`, "", " "},
		{"correlate_alerts", `{"alerts":["KubePodCrashLooping","a+b?"]}`, "", " "},
		{"silence_alerts", `{"alerts":["Down (eu)"],"duration":"24h"}`, "", " "},
		{"update_git_manifests", `{"repository":"configs","path":"a/b.yaml","patch":{"n":1}}`, "", "Repository configs/a/b.yaml"},
		{"notify_only", `{"attachments":["x"],"zoo":{"b":[1.5,null,true],"a":"<&>"},"assignee":7}`, `{"assignee":7,"attachments":["x"],"zoo":{"a":"<&>","b":[1.5,null,true]}}`, " "},
		{"notify_only", `{"name":"anything","kind":"note","target":"them"}`, "", " "},
	} {
		t.Run(test.action+" "+test.params, func(t *testing.T) {
			res, doc := resolve(t, test.action, test.params, "")
			require.Empty(t, told(doc))
			want := test.want
			if want == "" {
				want = canonicalJSON(t, test.params)
			}
			require.Equal(t, want, string(res.Parameters.AppendJSON(nil)))
			require.Equal(t, test.target, res.Target.String())
			require.Nil(t, res.Names)
		})
	}
}

func canonicalJSON(t *testing.T, s string) string {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal([]byte(s), &v))
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	require.NoError(t, e.Encode(v))
	return strings.TrimSpace(b.String())
}

func TestWhatDoesNotFitIsReported(t *testing.T) {
	for _, test := range []struct {
		action, params string
		want           []string
	}{
		{"scale_deployment", `{}`, []string{
			"error missing-namespace: scale_deployment needs a namespace and none is named; add one",
			"error missing-parameter: scale_deployment needs deployment: a name of small letters, digits, hyphens and dots (RFC 1123 subdomain)",
			"error missing-parameter: scale_deployment needs replicas: an integer from 0 to 1000"}},
		{"scale_deployment", `{"namespace":"a","deployment":"api","replicas":"8"}`, []string{
			`error invalid-parameter: replicas is the string "8"; expected an integer from 0 to 1000`}},
		{"scale_deployment", `{"namespace":"a","deployment":"api","replicas":1001}`, []string{
			`error invalid-parameter: replicas is 1001; expected an integer from 0 to 1000`}},
		{"scale_deployment", `{"namespace":"a","deployment":"api","replicas":-1}`, []string{
			`error invalid-parameter: replicas is -1; expected an integer from 0 to 1000`}},
		{"scale_deployment", `{"namespace":"a","deployment":"api","replicas":2.5}`, []string{
			`error invalid-parameter: replicas is 2.5; expected an integer from 0 to 1000`}},
		{"scale_deployment", `{"namespace":"a","deployment":"api","replicas":1e300}`, []string{
			`error invalid-parameter: replicas is 1e+300; expected an integer from 0 to 1000`}},
		{"scale_deployment", `{"namespace":"a","deployment":"api","replicas":null}`, []string{
			`error invalid-parameter: replicas is null; expected an integer from 0 to 1000`}},
		{"scale_deployment", `{"namespace":"A_b","deployment":"-api","replicas":[1],"force":"true"}`, []string{
			`error invalid-parameter: deployment is the string "-api"; expected a name of small letters, digits, hyphens and dots (RFC 1123 subdomain)`,
			`error invalid-parameter: force is the string "true"; expected true or false`,
			`error invalid-parameter: namespace is the string "A_b"; expected a name of small letters, digits and hyphens, at most 63 (RFC 1123 label)`,
			`error invalid-parameter: replicas is a list; expected an integer from 0 to 1000`}},
		{"scale_deployment", `{"namespace":"a.b","deployment":"a..b","replicas":1}`, []string{
			`error invalid-parameter: deployment is the string "a..b"; expected a name of small letters, digits, hyphens and dots (RFC 1123 subdomain)`,
			`error invalid-parameter: namespace is the string "a.b"; expected a name of small letters, digits and hyphens, at most 63 (RFC 1123 label)`}},
		{"restart_pod", `{"namespace":"a"}`, []string{
			"error missing-parameter: restart_pod needs one of deployment, statefulset, daemonset, pod"}},
		{"restart_pod", `{"namespace":"a","pod":"p","deployment":"d","statefulset":"s"}`, []string{
			"error invalid-parameter: deployment and statefulset exclude each other; restart_pod takes one of deployment, statefulset, daemonset, pod",
			"error invalid-parameter: deployment and pod exclude each other; restart_pod takes one of deployment, statefulset, daemonset, pod"}},
		{"restart_pod", `{"namespace":"a","pod":"p","strategy":"recreate","gracePeriodSeconds":301}`, []string{
			"error invalid-parameter: gracePeriodSeconds is 301; expected an integer from 0 to 300",
			`error invalid-parameter: strategy is the string "recreate"; expected "rolling"`}},
		{"increase_resources", `{"namespace":"a","deployment":"d"}`, []string{
			"error missing-parameter: increase_resources needs at least one of memory, cpu, memoryRequest, cpuRequest"}},
		{"increase_resources", `{"namespace":"a","deployment":"d","memory":"2Gi","memoryRequest":"2049Mi","cpu":"900m","cpuRequest":1}`, []string{
			"error invalid-parameter: memoryRequest 2049Mi is greater than memory 2Gi",
			"error invalid-parameter: cpuRequest 1 is greater than cpu 900m"}},
		{"increase_resources", `{"namespace":"a","deployment":"d","memory":"3GB"}`, []string{
			`error invalid-parameter: memory is the string "3GB"; expected a positive quantity such as "500m" or "2.5Gi"`}},
		{"increase_resources", `{"namespace":"a","deployment":"d","memory":0,"cpu":true}`, []string{
			`error invalid-parameter: cpu is true; expected a positive quantity such as "500m" or "2.5Gi"`,
			`error invalid-parameter: memory is 0; expected a positive quantity such as "500m" or "2.5Gi"`}},
		{"rollback_deployment", `{"namespace":"a","deployment":"d","revision":0}`, []string{
			`error invalid-parameter: revision is 0; expected an integer of at least 1 or "previous"`}},
		{"rollback_deployment", `{"namespace":"a","deployment":"d","revision":"last"}`, []string{
			`error invalid-parameter: revision is the string "last"; expected an integer of at least 1 or "previous"`}},
		{"drain_node", `{"node":"n","namespace":"a"}`, []string{
			`error unknown-parameter: drain_node has no parameter "namespace"`}},
		{"drain_node", `{"node":"n","ignoreDaemonsets":true}`, []string{
			`error unknown-parameter: drain_node has no parameter "ignoreDaemonsets" -> ignoreDaemonSets`}},
		{"taint_node", `{"node":"n","key":" ","effect":"Evict"}`, []string{
			`error invalid-parameter: effect is the string "Evict"; expected one of NoSchedule, PreferNoSchedule, NoExecute`,
			"error invalid-parameter: key is blank"}},
		{"cleanup_storage", `{"namespace":"a","pod":"p","path":"/"}`, []string{
			`error invalid-parameter: path is the string "/"; expected an absolute path below / without ..`}},
		{"cleanup_storage", `{"namespace":"a","pod":"p","path":"/./"}`, []string{
			`error invalid-parameter: path is the string "/./"; expected an absolute path below / without ..`}},
		{"cleanup_storage", `{"namespace":"a","pod":"p","path":"/var/../etc"}`, []string{
			`error invalid-parameter: path is the string "/var/../etc"; expected an absolute path below / without ..`}},
		{"cleanup_storage", `{"namespace":"a","pod":"p","path":"logs","ageThreshold":"-1h"}`, []string{
			`error invalid-parameter: ageThreshold is the string "-1h"; expected a duration such as "90s", "1h30m" or "7d"`,
			`error invalid-parameter: path is the string "logs"; expected an absolute path below / without ..`}},
		{"backup_data", `{"namespace":"a","pod":"p","paths":["/x","etc"],"retentionDays":366}`, []string{
			`error invalid-parameter: item 2 of paths is the string "etc"; expected a list of absolute paths below / without ..`,
			"error invalid-parameter: retentionDays is 366; expected an integer from 1 to 365"}},
		{"update_hpa", `{"namespace":"a","hpa":"h","minReplicas":9,"maxReplicas":8}`, []string{
			"error invalid-parameter: minReplicas 9 is greater than maxReplicas 8"}},
		{"patch_config_map", `{"namespace":"a","configMap":"c","patch":{"SIZE":200}}`, []string{
			`error invalid-parameter: "SIZE" in patch is 200; expected a string`}},
		{"patch_config_map", `{"namespace":"a","configMap":"c","patch":{}}`, []string{
			"error invalid-parameter: patch is empty; it needs at least one entry"}},
		{"patch_config_map", `{"namespace":"a","configMap":"c","patch":"SIZE=200"}`, []string{
			`error invalid-parameter: patch is the string "SIZE=200"; expected an object whose values are strings`}},
		{"update_network_policy", `{"namespace":"a","networkPolicy":"n","rules":[]}`, []string{
			"error invalid-parameter: rules is empty; it needs at least one item"}},
		{"update_network_policy", `{"namespace":"a","networkPolicy":"n","rules":{}}`, []string{
			"error invalid-parameter: rules is empty; it needs at least one entry"}},
		{"update_network_policy", `{"namespace":"a","networkPolicy":"n","rules":"none"}`, []string{
			`error invalid-parameter: rules is the string "none"; expected an object or a list`}},
		{"collect_diagnostics", `{"fortune":1}`, []string{
			`warning unknown-parameter: collect_diagnostics has no parameter "fortune"`,
			"error missing-parameter: collect_diagnostics needs at least one of namespace, deployment, statefulset, daemonset, pod, database"}},
		{"collect_diagnostics", `{"namespace":"a","type":"../heap"}`, []string{
			`error invalid-parameter: type is the string "../heap"; expected letters, digits, dots, underscores and hyphens, since it names the artifact`}},
		{"collect_diagnostics", `{"namespace":"a","deployment":"x","daemonset":"y"}`, []string{
			"error invalid-parameter: deployment and daemonset exclude each other; collect_diagnostics takes one of deployment, statefulset, daemonset"}},
		{"migrate_workload", `{"namespace":"a","deployment":"d","targetNode":"n","targetCluster":"c"}`, []string{
			"error invalid-parameter: targetNode and targetCluster exclude each other; migrate_workload takes one of targetNode, targetCluster"}},
		{"migrate_workload", `{"namespace":"a","deployment":"d"}`, []string{
			"error missing-parameter: migrate_workload needs one of targetNode, targetCluster"}},
		{"health_check", `{"services":[]}`, []string{
			"error invalid-parameter: services is empty; it needs at least one item"}},
		{"health_check", `{"services":["x"],"service":"y"}`, []string{
			"error invalid-parameter: service and services exclude each other; health_check takes one of deployment, statefulset, daemonset, service, services, pod"}},
		{"verify_recovery", `{"services":"api"}`, []string{
			`error invalid-parameter: services is the string "api"; expected a list of names of small letters, digits, hyphens and dots (RFC 1123 subdomain)`}},
		{"verify_recovery", `{"services":["api",3]}`, []string{
			`error invalid-parameter: item 2 of services is 3; expected a list of names of small letters, digits, hyphens and dots (RFC 1123 subdomain)`}},
		{"silence_alerts", `{"alerts":[],"duration":"59s"}`, []string{
			"error invalid-parameter: alerts is empty; it needs at least one item",
			`error invalid-parameter: duration is the string "59s"; expected a duration such as "90s", "1h30m" or "7d" from 1m to 24h`}},
		{"silence_alerts", `{"alerts":[" "],"duration":"2d"}`, []string{
			"error invalid-parameter: item 1 of alerts is blank",
			`error invalid-parameter: duration is the string "2d"; expected a duration such as "90s", "1h30m" or "7d" from 1m to 24h`}},
		{"silence_alerts", `{"alerts":["*","A","",".*"],"duration":"5m"}`, []string{
			`error invalid-parameter: item 1 of alerts is the string "*", which is refused; name what is meant; item 3 of alerts is blank; ` +
				`item 4 of alerts is the string ".*", which is refused; name what is meant`}},
		{"silence_alerts", `{"alerts":["","","","","","","","",""],"duration":"5m"}`, []string{
			"error invalid-parameter: item 1 of alerts is blank; item 2 of alerts is blank; item 3 of alerts is blank; item 4 of alerts is blank; " +
				"item 5 of alerts is blank; item 6 of alerts is blank; item 7 of alerts is blank; item 8 of alerts is blank; and maybe more"}},
		{"silence_alerts", `{"alerts":["A"],"duration":300}`, []string{
			`error invalid-parameter: duration is 300; expected a duration such as "90s", "1h30m" or "7d" from 1m to 24h`}},
		{"update_git_manifests", `{"repository":"r","path":"../x","patch":{"a":1}}`, []string{
			`error invalid-parameter: path is the string "../x"; expected a relative path without ..`}},
		{"update_git_manifests", `{"repository":"r","path":"-rf","patch":{"a":1}}`, []string{
			`error invalid-parameter: path is the string "-rf"; expected a relative path without ..`}},
		{"notify_only", `{"attachments":[null]}`, []string{
			"error invalid-parameter: item 1 of attachments is null; expected a list of strings"}},
	} {
		t.Run(test.action+" "+test.params, func(t *testing.T) {
			res, doc := resolve(t, test.action, test.params, "")
			require.Equal(t, test.want, told(doc))
			for _, p := range doc.Problems {
				require.Equal(t, "rec-001", p.Step)
			}
			require.True(t, json.Valid(res.Parameters.AppendJSON(nil)))
		})
	}
}

func TestMatchAllAlertNamesAreRefused(t *testing.T) {
	for _, name := range []string{"*", "**", "?*", ".*", ".+", "^.*$", "^.+$", " .* ", ".*.*", "(.*)", "(.+|x)", ".{1,}", `[\s\S]*`, "(?i).*",
		"[^,]*", "[^,]+", ".*|Down", `\S+`, "\\w.*|.*", "^", "$", strings.Repeat("a?", 200)} {
		for _, action := range []string{"correlate_alerts", "silence_alerts"} {
			params, err := json.Marshal(map[string]any{"alerts": []string{"Fine", name}, "duration": "5m"})
			require.NoError(t, err)
			_, doc := resolve(t, action, string(params), "")
			var found []string
			for _, p := range doc.Problems {
				if p.Code == schema.CodeInvalidParameter {
					found = append(found, p.Message)
				}
			}
			if name == "^" || name == "$" {
				require.Empty(t, found, "%q matches only nothing", name)
				continue
			}
			require.Len(t, found, 1, "%s %q", action, name)
			require.Contains(t, found[0], "item 2 of alerts is the string")
			require.Contains(t, found[0], "is refused")
		}
	}
}

// Each of these is compiled in milliseconds, and a document has room for thousands.
func TestPatternsInAListAreBounded(t *testing.T) {
	alerts := func(pattern string, n int) string {
		list, err := json.Marshal(map[string]any{"alerts": slices.Repeat([]string{pattern}, n)})
		require.NoError(t, err)
		_, doc := resolve(t, "correlate_alerts", string(list), "")
		if doc.Err() == nil {
			return ""
		}
		return doc.Problems[0].Message
	}
	require.Empty(t, alerts("a|b", 64))
	require.Equal(t, "alerts has more than 64 patterns; name what is meant", alerts("a|b", 100_000))
	require.Contains(t, alerts(strings.Repeat("a{1000}", 36), 4000), "is refused")
	require.Empty(t, alerts("KubePodCrashLooping", 10_000))
}

func TestQuantitiesAreReadAsKubernetesReadsThem(t *testing.T) {
	accepted := func(q string) bool {
		params, err := json.Marshal(map[string]any{"namespace": "a", "pvc": "p", "size": q})
		require.NoError(t, err)
		_, doc := resolve(t, "expand_pvc", string(params), "")
		return len(doc.Problems) == 0
	}
	for _, q := range []string{"1", "+1", "1.", ".5", "0.5", "2.5Gi", "100m", "1e3", "1E3", "1e-3", "1e+3", "12E", "3k", "5n", "7u", "1Ki", "1Mi", "1Ti", "1Pi", "1Ei", "9M", "9G", "9T", "9P", "007"} {
		require.True(t, accepted(q), q)
	}
	for _, q := range []string{"", "-1", "0", "0.0", "0Gi", ".", "+", "1 Gi", " 1", "1gi", "1KI", "1K", "1ki", "1mi", "1e", "1e3.5", "1e3Gi", "1..2", "1.2.3", "Gi", "١", "1e999", "NaN", "Inf", "0x10",
		strings.Repeat("9", 41)} {
		require.False(t, accepted(q), q)
	}
}

func TestQuantitiesAreComparedByValue(t *testing.T) {
	for _, test := range []struct {
		request, limit string
		fits           bool
	}{
		{"1Gi", "1024Mi", true}, {"1024Mi", "1Gi", true}, {"1Gi", "1G", false}, {"1G", "1Gi", true}, {"1.5Ki", "1536", true}, {"1537", "1.5Ki", false},
		{"1e3", "1k", true}, {"1001", "1e3", false}, {"999m", "1", true}, {"1E", "1Ei", true}, {"1n", "1u", true}, {"2u", "1999n", false},
		{"9999999999999999999999", "1Ei", false}, {"1e-30", "1n", true},
	} {
		params := fmt.Sprintf(`{"namespace":"a","deployment":"d","memory":%q,"memoryRequest":%q}`, test.limit, test.request)
		_, doc := resolve(t, "increase_resources", params, "")
		require.Equal(t, test.fits, len(doc.Problems) == 0, "%v %v", test, told(doc))
	}
}

func TestAMissingNamespaceIsFilledOnlyWhereItIsNeeded(t *testing.T) {
	res, doc := resolve(t, "restart_pod", `{"deployment":"d"}`, "prod")
	require.Empty(t, told(doc), "the caller reports the repair")
	require.Equal(t, `{"deployment":"d","namespace":"prod"}`, string(res.Parameters.AppendJSON(nil)))
	require.Equal(t, schema.Target{Kind: "Deployment", Namespace: "prod", Name: "d"}, res.Target)

	res, doc = resolve(t, "health_check", `{"deployment":"d"}`, "prod")
	require.Empty(t, told(doc))
	require.False(t, res.Parameters.Given("namespace"))

	res, _ = resolve(t, "cordon_node", `{"node":"n"}`, "prod")
	require.False(t, res.Parameters.Given("namespace"))

	_, doc = resolve(t, "restart_pod", `{"deployment":"d"}`, "Not A Label")
	require.Equal(t, []string{`error invalid-parameter: the namespace for steps that name none is the string "Not A Label"; expected a name of small letters, digits and hyphens, at most 63 (RFC 1123 label)`}, told(doc))
}

func TestNamespaceOf(t *testing.T) {
	reg := actions.Canonical()
	for _, test := range []struct {
		action, params string
		target         *schema.Target
		want           string
		needed         bool
	}{
		{"restart_pod", `{"namespace":"a"}`, nil, "a", true},
		{"restart_pod", `{"ns":"a"}`, nil, "a", true},
		{"restart_pod", `{}`, nil, "", true},
		{"restart_pod", `{"namespace":7}`, nil, "", false},
		{"restart_pod", `{"target":{"kind":"Pod","name":"p","namespace":"a"}}`, nil, "a", true},
		{"restart_pod", `{"targetResource":{"kind":"Pod","name":"p"}}`, nil, "", true},
		{"audit_logs", `{"resource_type":"namespace","resource_name":"a"}`, nil, "a", true},
		{"audit_logs", `{"resource_type":"pod","resource_name":"a"}`, nil, "", true},
		{"restart_pod", `{}`, &schema.Target{Kind: "Pod", Name: "p", Namespace: "a"}, "a", true},
		{"audit_logs", `{}`, &schema.Target{Kind: "Namespace", Name: "a"}, "a", true},
		{"health_check", `{"namespace":"a"}`, nil, "a", false},
		{"health_check", `{}`, nil, "", false},
		{"cordon_node", `{"node":"n"}`, nil, "", false},
	} {
		rec := schema.Recommendation{Action: test.action, Target: test.target}
		require.NoError(t, json.Unmarshal([]byte(test.params), &rec.Parameters))
		got, needed := reg.Lookup(test.action).NamespaceOf(&rec)
		require.Equal(t, test.want, got, test)
		require.Equal(t, test.needed, needed, test)
	}
}

func TestDangerousValuesRaiseTheRisk(t *testing.T) {
	for _, test := range []struct {
		action, params string
		want           []string
	}{
		{"scale_deployment", `{"namespace":"a","deployment":"d","replicas":1,"force":true}`, []string{"force goes on although an autoscaler owns the size"}},
		{"scale_deployment", `{"namespace":"a","deployment":"d","replicas":1,"force":false}`, nil},
		{"restart_pod", `{"namespace":"a","pod":"p","gracePeriodSeconds":0,"force":true}`, []string{
			"force goes on although the pod has no owner that would replace it", "a grace period of 0 kills without letting the process end by itself"}},
		{"restart_pod", `{"namespace":"a","pod":"p","gracePeriodSeconds":0.0}`, []string{"a grace period of 0 kills without letting the process end by itself"}},
		{"drain_node", `{"node":"n","deleteEmptyDirData":true}`, []string{"deleteEmptyDirData loses what the pods keep in emptyDir volumes"}},
		{"taint_node", `{"node":"n","key":"k","effect":"NoExecute"}`, []string{"NoExecute evicts the pods that run on the node"}},
		{"taint_node", `{"node":"n","key":"k","effect":"NoSchedule"}`, nil},
		{"repair_database", `{"namespace":"a","database":"d","repairType":"full","backupBeforeRepair":false}`, []string{"without a backup a repair that goes wrong cannot be taken back"}},
		{"rotate_secrets", `{"namespace":"a","secret":"d","backupOldSecret":false}`, []string{"without a backup the old values cannot be restored"}},
	} {
		res, doc := resolve(t, test.action, test.params, "")
		require.Empty(t, told(doc))
		var got []string
		for _, f := range res.Floors {
			require.Equal(t, schema.RiskHigh, f.Risk)
			got = append(got, f.Reason)
		}
		require.Equal(t, test.want, got, test)
	}
}

func TestGates(t *testing.T) {
	for _, test := range []struct {
		action, params string
		want           bool
	}{
		{"health_check", `{"service":"s"}`, false},
		{"health_check", `{"service":"s","endpoint":"/health"}`, true},
		{"health_check", `{"service":"s","expected_status":200}`, true},
		{"verify_recovery", `{"services":["s"]}`, true},
		{"scale_deployment", `{"namespace":"a","deployment":"d","replicas":1}`, true},
		{"silence_alerts", `{"alerts":["A"],"duration":"5m"}`, true},
		{"collect_diagnostics", `{"namespace":"a"}`, false},
		{"notify_only", `{}`, false},
		{"update_git_manifests", `{"repository":"r","path":"p","patch":{"a":1}}`, false},
	} {
		res, _ := resolve(t, test.action, test.params, "")
		require.Equal(t, test.want, res.Gate, test)
	}
}

func TestArtifactsAreNamedByTypeAndStep(t *testing.T) {
	for _, test := range []struct{ action, params, want string }{
		{"collect_diagnostics", `{"namespace":"a","type":"heap_dump"}`, "heap_dump_rec-001"},
		{"collect_diagnostics", `{"namespace":"a"}`, "diagnostics_rec-001"},
		{"collect_diagnostics", `{"namespace":"a","type":""}`, "diagnostics_rec-001"},
		{"create_heap_dump", `{"namespace":"a","pod":"p"}`, "heap_dump_rec-001"},
		{"backup_data", `{"namespace":"a","pod":"p"}`, "backup_rec-001"},
		{"audit_logs", `{"namespace":"a"}`, "audit_logs_rec-001"},
		{"restart_pod", `{"namespace":"a","pod":"p"}`, ""},
	} {
		res, doc := resolve(t, test.action, test.params, "")
		require.Empty(t, told(doc))
		require.Equal(t, test.want, res.Artifact)
	}
}

func TestWhatIsResolvedDoesNotShareMemoryWithTheDocument(t *testing.T) {
	rules := map[string]any{"ingress": []any{"a"}}
	patch := map[string]any{"k": "v"}
	alerts := []any{"A"}
	step := func(action string, params map[string]any) actions.Resolution {
		res, doc := resolveStep(t, schema.Recommendation{ID: "x", Action: action, Parameters: params}, "")
		require.Empty(t, told(doc))
		return res
	}
	policy := step("update_network_policy", map[string]any{"namespace": "a", "networkPolicy": "n", "rules": rules})
	configMap := step("patch_config_map", map[string]any{"namespace": "a", "configMap": "n", "patch": patch})
	correlate := step("correlate_alerts", map[string]any{"alerts": alerts})
	rules["ingress"].([]any)[0] = "changed"
	patch["k"] = "changed"
	alerts[0] = "changed"
	require.Equal(t, map[string]any{"ingress": []any{"a"}}, policy.Parameters.Get("rules"))
	require.Equal(t, map[string]string{"k": "v"}, configMap.Parameters.Get("patch"))
	require.Equal(t, []string{"A"}, correlate.Parameters.Strings("alerts"))
}

func TestHostileParametersCostLittle(t *testing.T) {
	const n = 20_000
	var b strings.Builder
	b.WriteString(`{"recommendations":[{"id":"x","action":"restart_pod","parameters":{"namespace":"a","pod":"p"`)
	for i := range n {
		fmt.Fprintf(&b, `,"p%05d%s":%d`, n-i, strings.Repeat("x", i%20), i)
	}
	b.WriteString(`}}]}`)
	for action, severity := range map[string]schema.Severity{"restart_pod": schema.SeverityError, "health_check": schema.SeverityWarning} {
		doc, err := schema.Parse([]byte(b.String()))
		require.NoError(t, err)
		actions.Canonical().Lookup(action).Resolve(doc, 0, "")
		require.Equal(t, severity == schema.SeverityError, doc.Err() != nil)
		require.Len(t, doc.Problems, 33)
		more := doc.Problems[0] // placed at the parameters, before all of them
		require.Equal(t, schema.CodeLimitExceeded, more.Code)
		require.Equal(t, severity, more.Severity)
		require.Equal(t, "19968 more parameters are unknown to "+action+"; mend the others first", more.Message)
	}
	doc, err := schema.Parse([]byte(b.String()))
	require.NoError(t, err)
	res := actions.Canonical().Lookup("notify_only").Resolve(doc, 0, "")
	require.Equal(t, n+2, res.Parameters.Len(), "whatever the order in which they come")
	require.Equal(t, int64(n-1), res.Parameters.Int("p00001"+strings.Repeat("x", (n-1)%20)))
}

func TestLongValuesAreCutInMessages(t *testing.T) {
	long := strings.Repeat("é", 5000)
	params, err := json.Marshal(map[string]any{"namespace": long, "pod": long, long: 1, "strategy": long})
	require.NoError(t, err)
	_, doc := resolve(t, "restart_pod", string(params), "")
	require.Len(t, doc.Problems, 4)
	for _, p := range doc.Problems {
		require.Less(t, len(p.Message), 400)
	}
}

func TestEveryRepairIsRefusedByStrictReading(t *testing.T) {
	doc, err := schema.Parse([]byte(`{"recommendations":[{"id":"a","action":"enable_debug_mode","parameters":{"namespace":"a","deployment":"d","debug_flags":["x"]}}]}`), schema.Strict())
	require.NoError(t, err)
	actions.Canonical().Lookup("enable_debug_mode").Resolve(doc, 0, "")
	require.Len(t, doc.Problems, 1)
	require.Equal(t, schema.CodeRepairRefused, doc.Problems[0].Code)
	require.Positive(t, doc.Problems[0].Line)
}

func TestProblemsPointAtWhatTheDocumentSays(t *testing.T) {
	text := `{"recommendations": [{
  "id": "a", "action": "scale_deployment",
  "parameters": {
    "ns": "Bad Name",
    "deployment": "d",
    "wait_for_ready": 1
  }
}]}`
	doc, err := schema.Parse([]byte(text))
	require.NoError(t, err)
	actions.Canonical().Lookup("scale_deployment").Resolve(doc, 0, "")
	require.Error(t, doc.Err())
	var got []string
	for _, p := range doc.Problems {
		got = append(got, fmt.Sprintf("%d:%d %s %s", p.Line, p.Column, p.Code, p.Pointer))
	}
	require.Equal(t, []string{
		"3:17 missing-parameter /recommendations/0/parameters",
		"4:11 invalid-parameter /recommendations/0/parameters/ns",
		"6:23 invalid-parameter /recommendations/0/parameters/wait_for_ready",
	}, got)

	doc, err = schema.Parse([]byte(`{"recommendations": [{"id": "a", "action": "cordon_node", "parameters": {
  "target": {"kind": "Node",
    "name": "Bad Name",
    "zone": 1}
}}]}`))
	require.NoError(t, err)
	actions.Canonical().Lookup("cordon_node").Resolve(doc, 0, "")
	require.Error(t, doc.Err())
	got = nil
	for _, p := range doc.Problems {
		got = append(got, fmt.Sprintf("%d:%d %s %s", p.Line, p.Column, p.Code, p.Pointer))
	}
	require.Equal(t, []string{
		"3:13 invalid-parameter /recommendations/0/parameters/target/name",
		"4:13 unknown-parameter /recommendations/0/parameters/target/zone",
	}, got)
}

func BenchmarkResolve(b *testing.B) {
	doc := &schema.Document{Recommendations: []schema.Recommendation{{ID: "rec-001", Action: "restart_pod", Parameters: map[string]any{
		"deployment": "payment-service", "namespace": "production", "strategy": "rolling"}}}}
	text := []byte(`{"recommendations":[{"id":"rec-001","action":"restart_pod","parameters":{"deployment":"payment-service","namespace":"production","strategy":"rolling"}}]}`)
	if parsed, err := schema.Parse(text); err == nil {
		doc = parsed
	}
	spec := actions.Canonical().Lookup("restart_pod")
	b.ReportAllocs()
	for b.Loop() {
		spec.Resolve(doc, 0, "")
	}
	if len(doc.Problems) > 0 {
		b.Fatal(doc.Problems)
	}
}
