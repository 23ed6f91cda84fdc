package gitops_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/gitops"
)

// commit puts files into the base branch of a bare repository.
func commit(t *testing.T, bare string, files map[string]string) {
	t.Helper()
	clone := filepath.Join(t.TempDir(), "clone")
	run(t, filepath.Dir(clone), "clone", "-q", bare, clone)
	for name, text := range files {
		path := filepath.Join(clone, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if to, ok := strings.CutPrefix(text, "link:"); ok {
			require.NoError(t, os.Symlink(to, path))
			continue
		}
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	run(t, clone, "add", ".")
	run(t, clone, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "more")
	run(t, clone, "push", "-q", "origin", "main")
}

func served(t *testing.T, bare string, wrap func(http.Handler) http.Handler) *httptest.Server {
	t.Helper()
	var h http.Handler = &cgi.Handler{Path: run(t, bare, "--exec-path") + "/git-http-backend", Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(bare), "GIT_HTTP_EXPORT_ALL=1"}}
	if wrap != nil {
		h = wrap(h)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func pool() (*actions.Request, *conductor) {
	return request("production/config.yaml", map[string]any{"DATABASE_POOL_SIZE": "200"})
}

func probe(t *testing.T, h actions.ActionHandler, req *actions.Request) actions.Outcome {
	t.Helper()
	o, err := h.(actions.Prober).Probe(t.Context(), req)
	require.NoError(t, err)
	return o
}

func without(req *actions.Request, name string) *actions.Request {
	parameters := map[string]any{}
	for k, v := range req.Parameters.All() {
		parameters[k] = v
	}
	parameters[name] = false
	req.Parameters = actions.NewParameters(parameters)
	return req
}

func TestAProberAsksAfterEveryEffect(t *testing.T) {
	bare, f := repository(t), newForge(t)
	h := handlerOf(t, bare, f)
	req, con := pool()
	hook := filepath.Join(bare, "hooks", "pre-receive")
	require.NoError(t, os.WriteFile(hook, []byte("#!/bin/sh\nexit 1\n"), 0o755))
	_, err := h.Execute(t.Context(), req)
	require.ErrorContains(t, err, "hook declined")
	require.False(t, actions.IsTransient(err), "the server will not take it later")
	req.Begun = con.undo
	require.NotNil(t, req.Begun)
	require.Equal(t, actions.OutcomeDidNotHappen, probe(t, h, req), "before the push")
	require.NoError(t, h.(actions.Compensator).Compensate(t.Context(), req, con.undo))

	require.NoError(t, os.Remove(hook))
	f.set(0)
	f.mu.Lock()
	f.refuse = http.StatusForbidden
	f.mu.Unlock()
	_, err = h.Execute(t.Context(), req)
	require.ErrorContains(t, err, "give the Token the right to read and write pull requests")
	req.Begun = con.undo
	require.Equal(t, actions.OutcomeUnfinished, probe(t, h, req), "after the push, before the pull request")
	require.Contains(t, run(t, bare, "branch", "--list"), "remedy/r/rec-009")

	f.mu.Lock()
	f.refuse = 0
	f.mu.Unlock()
	_, err = h.Execute(t.Context(), req)
	require.NoError(t, err)
	require.Len(t, f.pulls, 1)
	req.Begun = con.undo
	require.Equal(t, actions.OutcomeHappened, probe(t, h, req))
	require.NoError(t, h.(actions.Compensator).Compensate(t.Context(), req, con.undo))
	require.Equal(t, "* main", run(t, bare, "branch", "--list"))
}

func TestABranchThatOthersNeedStays(t *testing.T) {
	for what, change := range map[string]func(f *forge){
		"another from it":     func(f *forge) { f.add("remedy/r/rec-009", "release") },
		"one stacked upon it": func(f *forge) { f.add("ann/more", "remedy/r/rec-009") },
		"theirs for ours":     func(f *forge) { f.pulls[0]["state"] = "closed"; f.add("remedy/r/rec-009", "main") },
	} {
		t.Run(what, func(t *testing.T) {
			bare, f := repository(t), newForge(t)
			h := handlerOf(t, bare, f)
			req, con := pool()
			_, err := h.Execute(t.Context(), req)
			require.NoError(t, err)
			change(f)
			before := fmt.Sprint(f.pulls)
			err = h.(actions.Compensator).Compensate(t.Context(), req, con.undo)
			require.ErrorIs(t, err, actions.ErrDrift)
			require.ErrorContains(t, err, "pull/2 needs branch remedy/r/rec-009")
			require.Equal(t, before, fmt.Sprint(f.pulls), "nothing is closed")
			require.Contains(t, run(t, bare, "branch", "--list"), "remedy/r/rec-009")
		})
	}
	bare, f := repository(t), newForge(t)
	h := handlerOf(t, bare, f)
	req, con := pool()
	_, err := h.Execute(t.Context(), without(req, "createPR"))
	require.NoError(t, err)
	require.Empty(t, f.pulls)
	f.add("remedy/r/rec-009", "main")
	require.ErrorIs(t, h.(actions.Compensator).Compensate(t.Context(), req, con.undo), actions.ErrDrift, "somebody has proposed what was only pushed")
	require.Equal(t, "open", f.pulls[0]["state"])
}

func TestAPullRequestOfOthersIsNeverTakenForOurs(t *testing.T) {
	bare, f := repository(t), newForge(t)
	f.deaf = true // it answers with all that there are, as some do that speak this API
	f.add("ann/fix", "main")
	h := handlerOf(t, bare, f)
	req, con := pool()
	r, err := h.Execute(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, "pull request https://github.com/shop/k8s-configs/pull/2", r.Message)
	require.NoError(t, h.(actions.Compensator).Compensate(t.Context(), req, con.undo))
	require.Equal(t, "open", f.pulls[0]["state"])
	require.Equal(t, "closed", f.pulls[1]["state"])
}

func TestAClosedPullRequestIsNoSuccess(t *testing.T) {
	bare, f := repository(t), newForge(t)
	h := handlerOf(t, bare, f)
	req, _ := pool()
	_, err := h.Execute(t.Context(), req)
	require.NoError(t, err)
	f.pulls[0]["state"] = "closed"
	_, err = h.Execute(t.Context(), req)
	require.ErrorContains(t, err, "pull/1 of branch remedy/r/rec-009 was closed: reopen it if the change is still wanted")
	require.False(t, actions.IsTransient(err))
	f.pulls[0]["merged_at"] = time.Now()
	_, err = h.Execute(t.Context(), req)
	require.NoError(t, err, "what is merged is done")
	require.Len(t, f.pulls, 1)
}

func TestWhatAGitServerRefusesIsClassed(t *testing.T) {
	bare := repository(t)
	var status atomic.Int64
	s := served(t, bare, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n := int(status.Load()); n != 0 {
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(n)
				fmt.Fprint(w, strings.Repeat("<html>no\n", 10_000))
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	h := handlerOf(t, strings.Replace(s.URL, "//", "//remedy:hunter2@", 1)+"/bare.git", nil)
	for code, want := range map[int]string{
		401: "have Repository.Auth log in", 403: "give its account the right to read and to push", 404: "set Repository.URL to where it is", 409: "409 Conflict", 422: "422 Unprocessable", 429: "429", 500: "500", 503: "503",
	} {
		status.Store(int64(code))
		req, _ := pool()
		_, err := h.(actions.DryRunner).DryRun(t.Context(), without(req, "createPR"))
		require.ErrorContains(t, err, want)
		require.Equal(t, code == 429 || code >= 500, actions.IsTransient(err), code)
		require.NotContains(t, err.Error(), "hunter2")
		require.Less(t, len(err.Error()), 500)
		if e, ok := errors.AsType[*actions.HandlerError](err); code == 429 {
			require.True(t, ok)
			require.Equal(t, 7*time.Second, e.RetryAfter)
		}
	}
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	req, _ := pool()
	for _, address := range []string{secure.URL + "/bare.git", "gopher://x/y.git"} {
		_, err := handlerOf(t, address, nil).Execute(t.Context(), without(req, "createPR"))
		require.Error(t, err)
		require.False(t, actions.IsTransient(err), err)
	}
	_, err := handlerOf(t, secure.URL+"/bare.git", nil).Execute(t.Context(), req)
	require.ErrorContains(t, err, "the server's certificate is not trusted: have the runner trust who issued it")
}

func TestCredentialsFollowNoRedirect(t *testing.T) {
	bare, f := repository(t), newForge(t)
	var leaked atomic.Value
	other := served(t, bare, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if a := r.Header.Get("Authorization"); a != "" {
				leaked.Store(a)
			}
			h.ServeHTTP(w, r)
		})
	})
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1)+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}))
	defer away.Close()
	withUser := strings.Replace(away.URL, "//", "//remedy:hunter2@", 1) + "/bare.git"
	for _, r := range []gitops.Repository{{URL: withUser}, {URL: away.URL + "/bare.git", Auth: &githttp.BasicAuth{Username: "x", Password: "t0ken"}}, {URL: away.URL + "/bare.git", Auth: &githttp.TokenAuth{Token: "t0ken"}}} {
		r.Forge = gitops.GitHub{Owner: "shop", Name: "k8s-configs", Token: "t0ken", URL: f.URL}
		g, err := gitops.New(gitops.Options{Repositories: map[string]gitops.Repository{"k8s-configs": r}})
		require.NoError(t, err)
		req, _ := pool()
		_, err = g.Handlers()["update_git_manifests"].Execute(t.Context(), req)
		if err != nil {
			require.NotContains(t, err.Error(), "t0ken")
			require.NotContains(t, err.Error(), "hunter2")
		}
	}
	require.Nil(t, leaked.Load())
}

func TestGitHubSaysWhatToDo(t *testing.T) {
	var status int
	var headers map[string]string
	body := `{"message":"Validation Failed","errors":[{"message":"No commits between main and x"}]}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range headers {
			w.Header().Set(k, v)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	defer s.Close()
	g := gitops.GitHub{Owner: "shop", Name: "k8s-configs", Token: "t0ken", URL: s.URL}
	for code, want := range map[int]string{
		401: "give it a Token that is valid", 403: "give the Token the right", 404: "whether the Token may see the repository", 409: "409", 422: "Validation Failed: No commits between main and x", 429: "429", 500: "500", 503: "503",
	} {
		status = code
		_, err := g.Open(t.Context(), "x", "main", "t", "x")
		require.ErrorContains(t, err, want)
		require.Equal(t, code == 429 || code >= 500, actions.IsTransient(err), code)
		require.NotContains(t, err.Error(), "t0ken")
	}
	status, headers = 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": fmt.Sprint(time.Now().Add(time.Minute).Unix())}
	e, ok := errors.AsType[*actions.HandlerError](g.Close(t.Context(), 1))
	require.True(t, ok && e.Transient)
	require.InDelta(t, time.Minute, e.RetryAfter, float64(2*time.Second), "until the limit is reset")
	status, headers, body = 200, nil, "<html>"
	_, err := g.Find(t.Context(), "x")
	require.ErrorContains(t, err, "the answer is no JSON of its API")
	_, err = gitops.GitHub{Owner: "shop", Name: "k", Token: "t0ken\n", URL: s.URL}.Find(t.Context(), "x")
	require.False(t, actions.IsTransient(err), "a token with a line end is never sent")
	require.NotContains(t, err.Error(), "t0ken")
}

func TestAFileIsEditedAsAPersonWould(t *testing.T) {
	const anchors = "# head\nbase: &base # shared\n    cpu: 1\n\nsize: &size 5 # all of them\n---not: x\na:\n    <<: *base\n    n: *size\nb: *base\nlist:\n- one # first\n- two\n"
	bare, f := repository(t), newForge(t)
	commit(t, bare, map[string]string{
		"anchors.yaml": strings.ReplaceAll(anchors, "---not: x\n", ""),
		"twice.yaml":   "a: 1\na: 2\n", "crlf.yaml": "# c\r\na: 1\r\nb:\r\n  c: 2\r\n", "secret.yaml": "kind: Secret\nstringData:\n  password: 0ldsecret\n",
		"start.yaml": "---\n# c\na: 1\n", "up": "link:production", "out": "link:..", "huge.yaml": "a: 1\n# " + strings.Repeat("x", 5<<20) + "\n",
		"selfish.yaml": "a: &a [*a]\n", "list.yaml": "- a\n",
	})
	h := handlerOf(t, bare, f)
	for name, c := range map[string]struct {
		path  string
		patch map[string]any
		want  string // what the file is then, or a part of the error
	}{
		"an anchor's value": {"anchors.yaml", map[string]any{"size": 6}, "# head\nbase: &base # shared\n    cpu: 1\n\nsize: &size 6 # all of them\na:\n    <<: *base\n    n: *size\nb: *base\nlist:\n- one # first\n- two\n"},
		"an alias":          {"anchors.yaml", map[string]any{"a.n": 7}, "    n: 7\n"},
		"inside an anchor":  {"anchors.yaml", map[string]any{"base.cpu": 2}, "base: &base # shared\n    cpu: 2\n\nsize: &size 5"},
		"into an alias":     {"anchors.yaml", map[string]any{"b": map[string]any{"cpu": 3}}, "error: b in the file is *base: patch what is at &base"},
		"below an alias":    {"anchors.yaml", map[string]any{"b.cpu": 3}, "error: b in the file is *base"},
		"an anchor in use":  {"anchors.yaml", map[string]any{"base": nil}, "error: change it by hand"},
		"twice":             {"twice.yaml", map[string]any{"a": 3}, "error: change it by hand"},
		"line ends":         {"crlf.yaml", map[string]any{"b.d": 4}, "# c\r\na: 1\r\nb:\r\n  c: 2\r\n  d: 4\r\n"},
		"a start":           {"start.yaml", map[string]any{"b": 4}, "---\n# c\na: 1\nb: 4\n"},
		"a linked folder":   {"up/config.yaml", map[string]any{"a": 1}, "error: the repository has no file"},
		"a way out":         {"out/x.yaml", map[string]any{"a": 1}, "error: the repository has no file"},
		"up":                {"production/../../x", map[string]any{"a": 1}, "error: is none of a file in the repository"},
		"absolute":          {"/etc/passwd", map[string]any{"a": 1}, "error: is none of a file in the repository"},
		"git's own":         {".git/config", map[string]any{"a": 1}, "error: is none of a file in the repository"},
		"a folder":          {"production", map[string]any{"a": 1}, "error: is no file of its own"},
		"huge":              {"huge.yaml", map[string]any{"a": 2}, "error: is larger than"},
		"an endless one":    {"selfish.yaml", map[string]any{"b": 2}, "error: change it by hand"},
		"a list":            {"list.yaml", map[string]any{"a": 2}, "error: a patch is for a file with one object"},
		"nothing":           {"crlf.yaml", nil, "error: patch must be an object"},
	} {
		t.Run(name, func(t *testing.T) {
			req, con := request(c.path, c.patch)
			req.Step = strings.ReplaceAll(name, " ", "-")
			_, err := h.Execute(t.Context(), req)
			if want, ok := strings.CutPrefix(c.want, "error: "); ok {
				require.ErrorContains(t, err, want)
				require.False(t, actions.IsTransient(err))
				require.Nil(t, con.undo)
				return
			}
			require.NoError(t, err)
			require.Contains(t, run(t, bare, "show", con.undo.State["commit"].(string)+":"+c.path)+c.want[len(strings.TrimRight(c.want, "\r\n")):], c.want)
		})
	}
	req, _ := request("secret.yaml", map[string]any{"stringData": map[string]any{"password": "n3wsecret"}})
	p, err := h.(actions.DryRunner).DryRun(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, []string{"secret.yaml on branch remedy/r/rec-009", "2 lines, which are not shown: it is a Secret", "a pull request into main"}, p.Change)
	same, _ := request("production/config.yaml", map[string]any{"DATABASE_POOL_SIZE": "100"})
	p, err = h.(actions.DryRunner).DryRun(t.Context(), same)
	require.NoError(t, err)
	require.Equal(t, []string{"nothing: production/config.yaml has the values already"}, p.Change)
}

func TestADescriptionIsCutAndShownAsCode(t *testing.T) {
	bare, f := repository(t), newForge(t)
	req, _ := pool()
	req.Description = "</details> @everyone closes #1\n```\n<img src=x>\n" + strings.Repeat("é", 100_000)
	_, err := handlerOf(t, bare, f).Execute(t.Context(), req)
	require.NoError(t, err)
	body := f.pulls[0]["body"].(string)
	require.Less(t, len(body), 65_536, "GitHub takes no longer one")
	for line := range strings.Lines(body) {
		require.True(t, strings.HasPrefix(line, "    "), line)
	}
}

// A road leads to a server, and can be cut.
type road struct {
	address, to string
	mu          sync.Mutex
	l           net.Listener
	conns       []net.Conn
}

func newRoad(t *testing.T, server string) *road {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &road{address: l.Addr().String(), to: strings.TrimPrefix(server, "http://")}
	r.serve(l)
	t.Cleanup(r.cut)
	return r
}

func (r *road) serve(l net.Listener) {
	r.mu.Lock()
	r.l = l
	r.mu.Unlock()
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", r.to)
			if err != nil {
				from.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, from, to)
			r.mu.Unlock()
			go func() { _, _ = io.Copy(to, from); to.Close() }()
			go func() { _, _ = io.Copy(from, to); from.Close() }()
		}
	}()
}

func (r *road) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.l != nil {
		r.l.Close()
	}
	for _, c := range r.conns {
		c.Close()
	}
	r.l, r.conns = nil, nil
}

func (r *road) mend() error {
	l, err := net.Listen("tcp", r.address)
	if err == nil {
		r.serve(l)
	}
	return err
}

func TestHalfAMinuteWithoutGitAndForgeFailsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	t.Parallel()
	const outage = 30 * time.Second
	for name, undo := range map[string]bool{"push": false, "undo": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bare, f := repository(t), newForge(t)
			gits, forges := newRoad(t, served(t, bare, nil).URL), newRoad(t, f.URL)
			g, err := gitops.New(gitops.Options{Repositories: map[string]gitops.Repository{"k8s-configs": {URL: "http://" + gits.address + "/bare.git",
				Forge: gitops.GitHub{Owner: "shop", Name: "k8s-configs", Token: "t0ken", URL: "http://" + forges.address}}}})
			require.NoError(t, err)
			h := g.Handlers()["update_git_manifests"]
			req, con := pool()
			mended := make(chan error, 2)
			away := func() {
				gits.cut()
				forges.cut()
				time.AfterFunc(outage, func() { mended <- gits.mend(); mended <- forges.mend() })
			}
			if !undo {
				req.Conductor = beginner{con, away} // after the clone, before the push
			}
			began := time.Now()
			_, err = h.Execute(t.Context(), req)
			require.NoError(t, err)
			if undo {
				away()
				require.NoError(t, h.(actions.Compensator).Compensate(t.Context(), req, con.undo))
				require.Equal(t, "closed", f.pulls[0]["state"])
				require.Equal(t, "* main", run(t, bare, "branch", "--list"))
			}
			require.GreaterOrEqual(t, time.Since(began), outage)
			require.NoError(t, errors.Join(<-mended, <-mended))
			require.Len(t, f.pulls, 1)
		})
	}
}

type beginner struct {
	actions.Conductor
	then func()
}

func (b beginner) Begin(ctx context.Context, req *actions.Request, undo *actions.Undo) error {
	err := b.Conductor.Begin(ctx, req, undo)
	b.then()
	return err
}
