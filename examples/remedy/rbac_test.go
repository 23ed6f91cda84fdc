package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions/kube"
	"github.com/remedykit/remedy/internal/controlplane"
	"github.com/remedykit/remedy/internal/controlplane/kubetest"
)

const sitePlan = `{"recommendations":[
	{"id":"look","action":"collect_diagnostics","parameters":{"namespace":"shop","deployment":"web","type":"thread_dump"}},
	{"id":"set","action":"patch_config_map","parameters":{"namespace":"shop","configMap":"web","patch":{"POOL":"10"}},"dependencies":["look"]},
	{"id":"ask","action":"health_check","parameters":{"namespace":"shop","service":"web","endpoint":"/health"},"dependencies":["set"]}]}`

// rightsOf are the rights that rbac prints, such as "get services/proxy".
func rightsOf(t *testing.T, args ...string) (all []string) {
	t.Helper()
	var rights []kube.Right
	require.NoError(t, json.Unmarshal([]byte(ok(t, append([]string{"rbac", "-o", "json"}, args...)...)), &rights))
	for _, r := range rights {
		all = append(all, r.Verb+" "+r.Resource)
	}
	return all
}

func TestRbacPrintsWhatThePlanNeedsAtTheSite(t *testing.T) {
	t.Setenv("KUBECONFIG", t.TempDir()+"/none") // it needs no cluster
	plan := file(t, "plan.json", sitePlan)
	plain := rightsOf(t, plan)
	require.Contains(t, plain, "get services/proxy")
	require.Contains(t, plain, "create secrets", "former values are kept there")
	require.NotContains(t, plain, "create pods/exec")
	require.Equal(t, plain, rightsOf(t, plan, "--site", file(t, "empty.yaml", "")))

	site := rightsOf(t, plan, "--site", file(t, "site.yaml", "commands: {collect_diagnostics.thread_dump: {args: [jstack, \"1\"]}}\nhttp: http://{service}.{namespace}.svc\nsealedKeyEnv: NOT_SET_HERE\n"))
	require.NotContains(t, site, "get services/proxy", "services are asked at their address")
	require.NotContains(t, site, "create secrets", "former values are kept in files")
	require.Contains(t, site, "create pods/exec", "the site's command runs in pods")
	role := ok(t, "rbac", plan, "--site", file(t, "site.yaml", "http: http://{service}.{namespace}.svc"))
	require.Contains(t, role, "kind: Role")
	require.NotContains(t, role, "services/proxy")

	for text, want := range map[string]string{"http: no-address": "site.yaml: httpcheck: a template is", "htpt: x": "htpt"} {
		r := remedy(t.Context(), strings.NewReader(""), "rbac", plan, "--site", file(t, "site.yaml", text))
		require.Equal(t, exitUsage, r.code)
		require.Contains(t, r.stderr, want)
	}
}

func TestRbacCountsWhatRunSetsUp(t *testing.T) {
	kubeconfig, err := kubetest.Cluster(t).Kubeconfig(controlplane.Admin)
	require.NoError(t, err)
	t.Setenv("REMEDY_TEST_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	t.Setenv("POD_NAMESPACE", "shop")
	t.Setenv("POD_NAME", "remedy-0")
	a := &app{}
	var flags planFlags
	flags.add(&cobra.Command{})
	l, err := a.load(t.Context(), &flags, file(t, "plan.json", sitePlan))
	require.NoError(t, err)
	for _, text := range []string{"", "http: http://{service}", "sealedKeyEnv: REMEDY_TEST_KEY", "secretLength: 16", "cleanupPaths: [/tmp]", "commands: {collect_diagnostics.thread_dump: {args: [jstack]}}"} {
		name := file(t, "site.yaml", text)
		c, _, err := a.cluster(t.Context(), &clusterFlags{kubeconfig, name}, t.TempDir()+"/journal")
		require.NoError(t, err)
		s, err := a.readSite(t.Context(), name)
		require.NoError(t, err)
		rights, err := s.rights(tasks(l.plan))
		require.NoError(t, err)
		require.Equal(t, c.Rights(tasks(l.plan)...), rights, text)
	}
}
