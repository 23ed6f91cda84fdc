package main

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/internal/controlplane/kubetest"
)

func TestAClusterThatCannotBeHadIsSaidInOneLine(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	t.Setenv("HOME", t.TempDir())
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer stranger.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for want, flags := range map[string][]string{
		"no cluster: give --kubeconfig FILE, or set KUBECONFIG":        nil,
		"no cluster: stat /nonexistent: no such file or directory":     {"--kubeconfig", "/nonexistent"},
		"no cluster: error loading config file":                        {"--kubeconfig", file(t, "bad.yaml", "not: [yaml")},
		"cannot be reached: ":                                          {"--kubeconfig", kubeconfigTo(t, gone.URL)},
		"does not know the runner: check the credentials":              {"--kubeconfig", kubeconfigTo(t, stranger.URL)},
		"cannot read /nowhere.yaml":                                    {"--site", "/nowhere.yaml"},
		"field nonsense not found":                                     {"--site", file(t, "site.yaml", "nonsense: 1")},
		"the environment variable REMEDY_TEST_UNSET is not set":        {"--kubeconfig", kubeconfigTo(t, gone.URL), "--site", file(t, "site.yaml", "notify: {default: {slackEnv: REMEDY_TEST_UNSET}}")},
		"give one of webhook, webhookEnv, slackEnv and smtp":           {"--kubeconfig", kubeconfigTo(t, gone.URL), "--site", file(t, "site.yaml", "notify: {default: {}}")},
		"httpcheck: a template is an http or https URL that contains ": {"--kubeconfig", kubeconfigTo(t, gone.URL), "--site", file(t, "site.yaml", "http: nothing")},
	} {
		began := time.Now()
		r := remedy(t.Context(), strings.NewReader(""), append([]string{"run", plans + "oomkill.json", "--handlers", "kube", "--dry-run"}, flags...)...)
		require.Equal(t, exitUsage, r.code, want)
		require.Contains(t, r.stderr, want)
		require.Equal(t, 1, strings.Count(r.stderr, "\n"), r.stderr)
		require.Less(t, time.Since(began), 10*time.Second, want)
	}
}

func TestWhatARunLacksIsSaidBeforeItBegins(t *testing.T) {
	w := newWorld(t, "cascading-failure")
	before := w.state()
	eve, err := kubetest.Cluster(t).Kubeconfig("eve")
	require.NoError(t, err)
	args := func(more map[string]string) []string {
		flags := map[string]string{"--kubeconfig": w.kubeconfig, "--site": w.site, "--confidence": "0.85", "--handlers": "kube", "--journal": filepath.Join(t.TempDir(), "journal")}
		maps.Copy(flags, more)
		all := []string{"run", w.plan}
		for name, value := range flags {
			all = append(all, name, value)
		}
		return append(all, "--approve", "auto", "--yes")
	}
	powerless := remedy(t.Context(), strings.NewReader(""), args(map[string]string{"--kubeconfig": eve})...)
	require.Equal(t, exitFailed, powerless.code, powerless.stderr)
	require.Contains(t, powerless.stdout, "the runner lacks rights: ")
	require.Contains(t, powerless.stdout, "remedy rbac prints the role that the plan needs")
	unconfigured := remedy(t.Context(), strings.NewReader(""), args(map[string]string{"--site": file(t, "site.yaml", "artifacts: "+t.TempDir())})...)
	require.Equal(t, exitFailed, unconfigured.code)
	require.Contains(t, unconfigured.stdout, "update_git_manifests is not configured: give repositories in the file of --site")
	text, err := os.ReadFile(w.plan)
	require.NoError(t, err)
	elsewhere := file(t, "elsewhere.json", strings.ReplaceAll(string(text), `"production"`, `"nowhere"`))
	missing := args(nil)
	missing[1] = elsewhere
	r := remedy(t.Context(), strings.NewReader(""), missing...)
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.stdout, "does not exist")
	require.Contains(t, r.stdout, "nowhere")
	require.Equal(t, before, w.state(), "nothing has begun")
}
