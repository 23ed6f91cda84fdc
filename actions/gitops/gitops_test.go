package gitops_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/gitops"
)

const manifest = `# who owns this: team-fraud
apiVersion: v1
kind: ConfigMap
metadata:
    name: fraud-detection-config # kept
data:
    DATABASE_POOL_SIZE: "100"   # raised twice already
    DATABASE_POOL_TIMEOUT: '10s'
    other: x
`

const deployment = `apiVersion: apps/v1
kind: Deployment
spec:
  replicas: 5 # by hand
  template:
    spec:
      containers:
      - name: main
        resources: {limits: {memory: 2Gi}}
`

// repository makes a bare repository with two manifests, and returns its path.
func repository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	work := filepath.Join(dir, "work")
	require.NoError(t, os.MkdirAll(filepath.Join(work, "production"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(work, "production", "config.yaml"), []byte(manifest), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(work, "deployment.yaml"), []byte(deployment), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(work, "two.yaml"), []byte(manifest+"---\n"+deployment), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(work, "wide.yaml"), []byte("kind: Thing\nspec: {\"é\": [1], 名前: é, n: 1, m: 11} # été\n"), 0o644))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(work, "link.yaml")))
	run(t, work, "init", "-q", "-b", "main")
	run(t, work, "add", ".")
	run(t, work, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
	bare := filepath.Join(dir, "bare.git")
	run(t, dir, "clone", "-q", "--bare", work, bare)
	run(t, bare, "config", "http.receivepack", "true")
	return bare
}

func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return strings.TrimSpace(string(out))
}

// A forge speaks what is used of GitHub's API.
type forge struct {
	*httptest.Server
	mu    sync.Mutex
	pulls []map[string]any
	lose  bool // answers of what was opened get lost
	fail  int  // a status to answer with
	// refuse is a status to answer with when one is to be opened; deaf, it heeds no filter.
	refuse int
	deaf   bool
}

// add opens a pull request as somebody else.
func (f *forge) add(head, base string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.pulls) + 1
	f.pulls = append(f.pulls, map[string]any{"head": head, "base": base, "number": n, "state": "open", "html_url": fmt.Sprintf("https://github.com/shop/k8s-configs/pull/%d", n)})
}

func newForge(t *testing.T) *forge {
	t.Helper()
	f := &forge{}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *forge) set(status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = status
}

func (f *forge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	const pulls = "/repos/shop/k8s-configs/pulls"
	switch {
	case r.Header.Get("Authorization") != "Bearer t0ken" || r.Header.Get("Accept") != "application/vnd.github+json":
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"message":"Bad credentials"}`)
	case f.fail != 0:
		w.WriteHeader(f.fail)
	case r.Method == http.MethodGet && r.URL.Path == pulls:
		found := []map[string]any{}
		for _, p := range f.pulls {
			if f.deaf || "shop:"+p["head"].(string) == r.URL.Query().Get("head") {
				found = append(found, view(p))
			}
		}
		if base := r.URL.Query().Get("base"); base != "" {
			for _, p := range f.pulls {
				if p["base"] == base && p["state"] == "open" {
					found = append(found, view(p))
				}
			}
		}
		if r.URL.Query().Get("direction") != "asc" {
			slices.Reverse(found)
		}
		_ = json.NewEncoder(w).Encode(found)
	case r.Method == http.MethodPost && f.refuse != 0:
		w.WriteHeader(f.refuse)
	case r.Method == http.MethodPost && r.URL.Path == pulls:
		var p map[string]any
		_ = json.NewDecoder(r.Body).Decode(&p)
		p["number"], p["state"], p["html_url"] = len(f.pulls)+1, "open", fmt.Sprintf("https://github.com/shop/k8s-configs/pull/%d", len(f.pulls)+1)
		f.pulls = append(f.pulls, p)
		if f.lose {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(view(p))
	case r.Method == http.MethodPatch && strings.HasPrefix(r.URL.Path, pulls+"/"):
		var change map[string]any
		_ = json.NewDecoder(r.Body).Decode(&change)
		n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, pulls+"/"))
		if err != nil || n < 1 || n > len(f.pulls) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		p := f.pulls[n-1]
		p["state"] = change["state"]
		_ = json.NewEncoder(w).Encode(view(p))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// view is a pull request as GitHub shows it.
func view(p map[string]any) map[string]any {
	shown := maps.Clone(p)
	shown["head"] = map[string]any{"ref": p["head"], "label": "shop:" + p["head"].(string)}
	shown["base"] = map[string]any{"ref": p["base"]}
	return shown
}

func handlerOf(t *testing.T, url string, f *forge) actions.ActionHandler {
	t.Helper()
	r := gitops.Repository{URL: url}
	if f != nil {
		r.Forge = gitops.GitHub{Owner: "shop", Name: "k8s-configs", Token: "t0ken", URL: f.URL}
	}
	g, err := gitops.New(gitops.Options{Repositories: map[string]gitops.Repository{"k8s-configs": r}})
	require.NoError(t, err)
	return g.Handlers()["update_git_manifests"]
}

type conductor struct {
	undo   *actions.Undo
	refuse error
}

func (c *conductor) Begin(_ context.Context, _ *actions.Request, undo *actions.Undo) error {
	c.undo = undo
	return c.refuse
}

func request(path string, patch map[string]any) (*actions.Request, *conductor) {
	con := &conductor{}
	return &actions.Request{Task: &actions.Task{Step: "rec-009", Action: "update_git_manifests", Description: "Ping @everyone",
		Parameters: actions.NewParameters(map[string]any{"repository": "k8s-configs", "path": path, "patch": patch, "createPR": true})}, Run: "r", Attempt: 1, Conductor: con}, con
}

func TestAManifestIsChangedOnABranchAndProposed(t *testing.T) {
	bare := repository(t)
	backend := &cgi.Handler{Path: run(t, bare, "--exec-path") + "/git-http-backend", Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(bare), "GIT_HTTP_EXPORT_ALL=1"}}
	server := httptest.NewServer(backend)
	defer server.Close()
	for name, url := range map[string]string{"path": bare, "http": server.URL + "/bare.git"} {
		t.Run(name, func(t *testing.T) {
			f := newForge(t)
			h := handlerOf(t, url, f)
			main := run(t, bare, "rev-parse", "main")
			req, con := request("production/config.yaml", map[string]any{"DATABASE_POOL_SIZE": "200"})
			req.Run = name
			p, err := h.(actions.DryRunner).DryRun(t.Context(), req)
			require.NoError(t, err)
			require.Equal(t, []string{"production/config.yaml on branch remedy/" + name + "/rec-009",
				`-     DATABASE_POOL_SIZE: "100"   # raised twice already`, `+     DATABASE_POOL_SIZE: "200"   # raised twice already`, "a pull request into main"}, p.Change)
			require.Empty(t, f.pulls)
			prober := h.(actions.Prober)
			r, err := h.Execute(t.Context(), req)
			require.NoError(t, err)
			require.Equal(t, "pull request https://github.com/shop/k8s-configs/pull/1", r.Message)
			branch := "remedy/" + name + "/rec-009"
			require.Equal(t, strings.TrimSpace(strings.Replace(manifest, `"100"`, `"200"`, 1)), run(t, bare, "show", branch+":production/config.yaml"), "nothing else has changed")
			require.Equal(t, main, run(t, bare, "rev-parse", "main"))
			require.Equal(t, branch, f.pulls[0]["head"])
			require.Equal(t, "main", f.pulls[0]["base"])
			require.Equal(t, "    Step rec-009 of run "+name+".\n    \n    Ping @everyone\n", f.pulls[0]["body"], "all of it is code")
			req.Begun = con.undo
			outcome, err := prober.Probe(t.Context(), req)
			require.NoError(t, err)
			require.Equal(t, actions.OutcomeHappened, outcome)
			tip := run(t, bare, "rev-parse", branch)
			_, err = h.Execute(t.Context(), req)
			require.NoError(t, err)
			require.Equal(t, tip, run(t, bare, "rev-parse", branch), "once, however often")
			require.Len(t, f.pulls, 1)

			compensator := h.(actions.Compensator)
			require.NoError(t, compensator.Compensate(t.Context(), req, con.undo))
			require.Equal(t, "closed", f.pulls[0]["state"])
			require.NotContains(t, run(t, bare, "branch", "--list", branch), branch)
			require.NoError(t, compensator.Compensate(t.Context(), req, con.undo), "undoing twice is no error")
			outcome, err = prober.Probe(t.Context(), req)
			require.NoError(t, err)
			require.Equal(t, actions.OutcomeDidNotHappen, outcome)
		})
	}
}

func TestWhatOthersHaveGoneOnWithStays(t *testing.T) {
	bare, f := repository(t), newForge(t)
	h := handlerOf(t, bare, f)
	req, con := request("deployment.yaml", map[string]any{"spec.replicas": 8})
	_, err := h.Execute(t.Context(), req)
	require.NoError(t, err)
	require.Contains(t, run(t, bare, "show", "remedy/r/rec-009:deployment.yaml"), "replicas: 8 # by hand")
	f.pulls[0]["merged_at"], f.pulls[0]["state"] = time.Now(), "closed"
	err = h.(actions.Compensator).Compensate(t.Context(), req, con.undo)
	require.ErrorIs(t, err, actions.ErrDrift)
	require.ErrorContains(t, err, "is merged: revert it there")
	run(t, bare, "branch", "-f", "remedy/r/rec-009", "main")
	err = h.(actions.Compensator).Compensate(t.Context(), req, con.undo)
	require.ErrorIs(t, err, actions.ErrDrift)
	require.ErrorContains(t, err, "somebody has pushed to remedy/r/rec-009")
}

func TestALostAnswerIsLookedInto(t *testing.T) {
	bare, f := repository(t), newForge(t)
	f.lose = true
	req, _ := request("production/config.yaml", map[string]any{"data": map[string]any{"new": "y", "other": nil}})
	r, err := handlerOf(t, bare, f).Execute(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, "pull request https://github.com/shop/k8s-configs/pull/1", r.Message)
	text := run(t, bare, "show", "remedy/r/rec-009:production/config.yaml")
	require.Contains(t, text, `new: "y"`)
	require.NotContains(t, text, "other:")
	require.Contains(t, text, "# who owns this: team-fraud")
	require.Contains(t, text, "# raised twice already")
}

func TestWhatIsRefusedPushesNothing(t *testing.T) {
	bare, f := repository(t), newForge(t)
	h := handlerOf(t, bare, f)
	for want, change := range map[string]func(map[string]any){
		`repository "evil" is not configured: there are [k8s-configs]`: func(p map[string]any) { p["repository"] = "evil" },
		"is none of a file in the repository":                          func(p map[string]any) { p["path"] = "../../etc/passwd" },
		"the repository has no file":                                   func(p map[string]any) { p["path"] = "nope.yaml" },
		"is no file of its own":                                        func(p map[string]any) { p["path"] = "link.yaml" },
		"2 documents":                                                  func(p map[string]any) { p["path"] = "two.yaml" },
		`remote ref "refs/heads/nope"`:                                 func(p map[string]any) { p["baseBranch"] = "nope" },
		"is no branch":                                                 func(p map[string]any) { p["baseBranch"] = "a..b" },
		"patch must be an object":                                      func(p map[string]any) { p["patch"] = []any{"x"} },
		"the file has no spec.template.spec.containers": func(p map[string]any) {
			p["path"], p["patch"] = "deployment.yaml", map[string]any{"spec.template.spec.containers[3].image": "x"}
		},
	} {
		req, con := request("production/config.yaml", map[string]any{"DATABASE_POOL_SIZE": "200"})
		parameters := map[string]any{}
		for k, v := range req.Parameters.All() {
			parameters[k] = v
		}
		change(parameters)
		req.Parameters = actions.NewParameters(parameters)
		_, err := h.Execute(t.Context(), req)
		require.ErrorContains(t, err, want)
		require.False(t, actions.IsTransient(err), want)
		require.Nil(t, con.undo)
	}
	req, con := request("production/config.yaml", map[string]any{"DATABASE_POOL_SIZE": "200"})
	con.refuse = errors.New("no")
	_, err := h.Execute(t.Context(), req)
	require.EqualError(t, err, "no")
	same, _ := request("production/config.yaml", map[string]any{"DATABASE_POOL_SIZE": "100"})
	r, err := h.Execute(t.Context(), same)
	require.NoError(t, err)
	require.Equal(t, "production/config.yaml has the values already", r.Message)
	_, err = handlerOf(t, bare, nil).Execute(t.Context(), req)
	require.ErrorContains(t, err, "has no forge to open a pull request at")
	require.Equal(t, "* main", run(t, bare, "branch", "--list"))
	require.Empty(t, f.pulls)
	_, err = gitops.New(gitops.Options{})
	require.Error(t, err)
}

func TestErrorsAreClassedAndHaveNoCredentials(t *testing.T) {
	bare, f := repository(t), newForge(t)
	req, _ := request("production/config.yaml", map[string]any{"DATABASE_POOL_SIZE": "200"})
	for status, transient := range map[int]bool{502: true, 429: true, 422: false} {
		f.fail = status
		soon, cancel := context.WithTimeout(t.Context(), 3*time.Second) // while the forge is asked, not git: go-git may not end when a local push is cancelled
		_, err := handlerOf(t, bare, f).Execute(soon, req)
		cancel()
		require.Error(t, err)
		require.Equal(t, transient, actions.IsTransient(err), status)
	}
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, strings.NewReader("no")) }))
	address := strings.Replace(silent.URL, "http://", "http://user:hunter2@", 1)
	silent.Close()
	for _, password := range []string{"hunter2", "hunter2@x"} {
		_, err := handlerOf(t, strings.Replace(address, "hunter2", password, 1)+"/x.git", f).(actions.DryRunner).DryRun(t.Context(), req)
		require.True(t, actions.IsTransient(err), err)
		require.NotContains(t, err.Error(), "hunter2")
		require.NotContains(t, err.Error(), "@")
	}
	var err error
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = handlerOf(t, bare, f).Execute(ctx, req)
	require.ErrorIs(t, err, context.Canceled)
}

func TestAnOutageInTheMiddleFailsNothing(t *testing.T) {
	bare, f := repository(t), newForge(t)
	h := handlerOf(t, bare, f)
	req, con := request("production/config.yaml", map[string]any{"DATABASE_POOL_SIZE": "200"})
	outage := func() {
		f.set(http.StatusBadGateway)
		time.AfterFunc(time.Second, func() { f.set(0) })
	}
	outage()
	_, err := h.Execute(t.Context(), req)
	require.NoError(t, err)
	require.Len(t, f.pulls, 1)
	outage()
	require.NoError(t, h.(actions.Compensator).Compensate(t.Context(), req, con.undo))
	require.Equal(t, "closed", f.pulls[0]["state"])
}

func TestAnUndoNeedsNothingButItsRecord(t *testing.T) {
	bare, f := repository(t), newForge(t)
	h := handlerOf(t, bare, f)
	req, con := request("production/config.yaml", map[string]any{"DATABASE_POOL_SIZE": "200"})
	_, err := h.Execute(t.Context(), req)
	require.NoError(t, err)
	clone := filepath.Join(t.TempDir(), "clone")
	run(t, filepath.Dir(clone), "clone", "-q", bare, clone)
	run(t, clone, "rm", "-q", "production/config.yaml")
	run(t, clone, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "It moved")
	run(t, clone, "push", "-q", "origin", "main")
	req.Begun = con.undo
	outcome, err := h.(actions.Prober).Probe(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, actions.OutcomeHappened, outcome)
	require.NoError(t, h.(actions.Compensator).Compensate(t.Context(), req, con.undo), "although the file is gone from the base")
	require.Equal(t, "closed", f.pulls[0]["state"])
	require.Equal(t, "* main", run(t, bare, "branch", "--list"))
}

func TestABranchOfSomebodyElseIsNotProposed(t *testing.T) {
	bare, f := repository(t), newForge(t)
	h := handlerOf(t, bare, f)
	req, con := request("production/config.yaml", map[string]any{"DATABASE_POOL_SIZE": "200"})
	run(t, bare, "branch", "remedy/r/rec-009", "main")
	_, err := h.Execute(t.Context(), req)
	require.ErrorContains(t, err, "branch remedy/r/rec-009 is there already, and its last commit is not this step's")
	require.False(t, actions.IsTransient(err))
	require.Nil(t, con.undo)
	require.Empty(t, f.pulls)
}

func TestEveryIdMakesABranch(t *testing.T) {
	bare, f := repository(t), newForge(t)
	for _, step := range []string{"a.lock", "a..b", ".a", "a."} {
		req, con := request("production/config.yaml", map[string]any{"DATABASE_POOL_SIZE": "200"})
		req.Step = step
		_, err := handlerOf(t, bare, f).Execute(t.Context(), req)
		require.NoError(t, err, step)
		require.NoError(t, handlerOf(t, bare, f).(actions.Compensator).Compensate(t.Context(), req, con.undo), step)
	}
	require.Equal(t, "* main", run(t, bare, "branch", "--list"))
}

func TestGitHubIsNotFollowedElsewhereAndTextIsCode(t *testing.T) {
	var body struct{ Body string }
	status := http.StatusCreated
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewDecoder(r.Body).Decode(&body)
		w.Header().Set("Location", "/elsewhere")
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(status)
		fmt.Fprint(w, `{}`)
	}))
	defer s.Close()
	g := gitops.GitHub{Owner: "shop", Name: "k8s-configs", Token: "t0ken", URL: s.URL}
	_, err := g.Open(t.Context(), "a", "main", "t", "one\r@everyone\r\n# two")
	require.NoError(t, err)
	require.Equal(t, "    one\n    @everyone\n    # two\n", body.Body)
	status = http.StatusMovedPermanently
	err = g.Close(t.Context(), 1)
	require.ErrorContains(t, err, "the repository has moved", "a request that is sent on would close nothing")
	require.False(t, actions.IsTransient(err))
	status = http.StatusForbidden
	err = g.Close(t.Context(), 1)
	require.True(t, actions.IsTransient(err), "a secondary rate limit")
}

func TestOnlyWhatIsPatchedChanges(t *testing.T) {
	bare, f := repository(t), newForge(t)
	h := handlerOf(t, bare, f)
	req, _ := request("deployment.yaml", map[string]any{"spec": map[string]any{"replicas": 8}, "spec.template.spec.containers[0].resources.limits.memory": "3Gi"})
	p, err := h.(actions.DryRunner).DryRun(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, []string{"deployment.yaml on branch remedy/r/rec-009", "-   replicas: 5 # by hand", "-         resources: {limits: {memory: 2Gi}}",
		"+   replicas: 8 # by hand", "+         resources: {limits: {memory: 3Gi}}", "a pull request into main"}, p.Change)
	wide, _ := request("wide.yaml", map[string]any{"spec.n": 2, "spec.m": 12})
	p, err = h.(actions.DryRunner).DryRun(t.Context(), wide)
	require.NoError(t, err)
	require.Equal(t, `+ spec: {"é": [1], 名前: é, n: 2, m: 12} # été`, p.Change[2], "also behind letters of several bytes")
}
