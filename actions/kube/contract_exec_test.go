package kube_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apimachinery/pkg/util/httpstream/spdy"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/artifact"
	"github.com/remedykit/remedy/actions/kube"
	"github.com/remedykit/remedy/internal/controlplane"
)

// A kubelet runs commands on this machine and says with which code they ended, as a real one does, and the one of the other
// tests does not.
type kubelet struct {
	mu     sync.Mutex
	conns  []net.Conn
	before func(pod string, args []string) // is called before a command runs
	log    string                          // of every container
	ran    []string                        // pod/container of every command
}

// kubelet makes a node with a kubelet that tells how commands end.
func (c *cluster) kubelet(node string) *kubelet {
	c.Helper()
	c.node(node)
	k := &kubelet{before: func(string, []string) {}}
	s := httptest.NewUnstartedServer(k)
	s.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateHijacked {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.conns = append(k.conns, conn)
		}
	}
	s.StartTLS()
	c.Cleanup(func() { k.die(); s.Close() })
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	nodes := c.client.CoreV1().Nodes()
	listens := func(ctx context.Context) error {
		_, err := nodes.Patch(ctx, node, types.StrategicMergePatchType, []byte(`{"status":{"daemonEndpoints":{"kubeletEndpoint":{"Port":`+port+`}}}}`), metav1.PatchOptions{}, "status")
		return err
	}
	require.NoError(c, listens(c.Context()))
	w, err := nodes.Watch(c.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + node})
	require.NoError(c, err)
	c.Cleanup(w.Stop)
	go func(ctx context.Context) { // kwok may make a node ready twice, and writes its own port then
		for e := range w.ResultChan() {
			if n, ok := e.Object.(*corev1.Node); ok && e.Type != watch.Deleted && strconv.Itoa(int(n.Status.DaemonEndpoints.KubeletEndpoint.Port)) != port {
				_ = listens(ctx)
			}
		}
	}(c.Context())
	return k
}

// die ends all connections, as a kubelet does that is killed.
func (k *kubelet) die() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, conn := range k.conns {
		_ = conn.Close()
	}
	k.conns = nil
}

func (k *kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	part := strings.Split(r.URL.Path, "/") // "", what, namespace, pod, container
	if part[1] == "containerLogs" {
		_, _ = io.WriteString(w, k.log)
		return
	}
	if _, err := httpstream.Handshake(r, w, []string{"v5.channel.k8s.io", "v4.channel.k8s.io"}); err != nil {
		return
	}
	made := make(chan httpstream.Stream, 3)
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error { made <- s; return nil })
	if conn == nil {
		return
	}
	defer conn.Close()
	streams := map[string]httpstream.Stream{}
	for range 3 {
		select {
		case s := <-made:
			streams[s.Headers().Get(corev1.StreamType)] = s
		case <-conn.CloseChan():
			return
		}
	}
	args := r.URL.Query()["command"]
	k.mu.Lock()
	k.ran = append(k.ran, part[3]+"/"+part[4])
	k.mu.Unlock()
	k.before(part[3], args)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { <-conn.CloseChan(); cancel() }()
	data, _ := json.Marshal(ended(ctx, args, streams[corev1.StreamTypeStdout], streams[corev1.StreamTypeStderr]))
	_, _ = streams[corev1.StreamTypeError].Write(data)
	for _, s := range streams {
		_ = s.Close()
	}
	<-conn.CloseChan() // the other side has read all
}

// ended runs a command, and is what a node says of its end.
func ended(ctx context.Context, args []string, stdout, stderr io.Writer) metav1.Status {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return metav1.Status{Status: metav1.StatusFailure, Reason: "NonZeroExitCode", Message: "command terminated with non-zero exit code",
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: "ExitCode", Message: strconv.Itoa(exit.ExitCode())}}}}
	}
	if err != nil {
		return metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonInternalError, Message: err.Error(), Code: http.StatusInternalServerError}
	}
	return metav1.Status{Status: metav1.StatusSuccess}
}

// shell is a command of the site's that is a script of the test's.
func shell(script string, args ...string) []string {
	return append([]string{"sh", "-c", script, "sh"}, args...)
}

// hostile is what a command may say to whom it dislikes: it clears the screen, rings and is no UTF-8.
const hostile = `\033[2J\007\377`

// printable tells whether a terminal shows all of a text.
func requirePrintable(t *testing.T, text string) {
	t.Helper()
	require.NotRegexp(t, `[\x00-\x09\x0b-\x1f\x7f]`, text)
	require.True(t, strings.ToValidUTF8(text, "") == text, text)
}

// A command of which nobody knows how it ended did not succeed, wherever the connection breaks, and half a copy is none.
func TestACommandWhoseConnectionBreaksDidNotSucceed(t *testing.T) {
	c := newCluster(t)
	node := c.kubelet("broken-a")
	c.ready("web")
	flag := filepath.Join(t.TempDir(), "runs")
	runs := shell(`echo half; echo it runs >&2; touch "$1"; exec sleep 600`, flag)
	store := artifact.Folder(t.TempDir())
	config := configOf(t, controlplane.Admin)
	road := newRoad(t, config)
	k, err := kube.New(config, kube.Options{Artifacts: store, Commands: kube.Commands{"compact_storage": {Args: runs}, "backup_data": {Args: runs}}})
	require.NoError(t, err)
	t.Cleanup(k.Close)
	there := *c
	there.handlers = k.Handlers()
	told := false // the last words may be lost with the connection, but not always
	for name, breaks := range map[string]func(){"the kubelet dies": node.die, "the way to the API server is cut": road.cut} {
		for action, parameters := range map[string]map[string]any{"compact_storage": {"deployment": "web"}, "backup_data": {"database": "web"}} {
			_ = os.Remove(flag)
			req, con := c.artifactRequest(action, "backup_s", parameters)
			done := make(chan error, 1)
			go func() { _, err := there.execute(req); done <- err }()
			require.Eventually(t, func() bool { _, err := os.Stat(flag); return err == nil }, eventually, tick)
			breaks()
			if road.l == nil {
				road.mend(t)
			}
			err := <-done
			require.ErrorContains(t, err, "the connection broke before the node said how the command ended", name)
			told = told || strings.Contains(err.Error(), "it runs")
			require.Equal(t, 1, con.begun)
			req.Begun = con.undo
			if action == "compact_storage" {
				require.Equal(t, actions.OutcomeUnknown, there.probe(req), "without a probe nobody knows")
			} else {
				require.Equal(t, actions.OutcomeDidNotHappen, there.probe(req))
			}
		}
	}
	require.True(t, told, "what it said before is told")
	_, err = store.Open(t.Context(), "r", "backup_s")
	require.ErrorIs(t, err, artifact.ErrNotFound)
}

func (c *cluster) commands(all kube.Commands) *cluster {
	c.Helper()
	return c.as(controlplane.Admin, kube.Options{Commands: all, Artifacts: artifact.Folder(c.TempDir())})
}

// What a command says when it fails is told, and harms nobody.
func TestWhatACommandSaysIsToldWithoutSecretsAndFitToBeShown(t *testing.T) {
	c := newCluster(t)
	c.kubelet("says-a")
	c.ready("web")
	const secret = "hunter2 \"and more"
	env := map[string]string{"PGPASSWORD": secret}
	request := func() *actions.Request {
		req, _ := c.request("compact_storage", map[string]any{"namespace": c.namespace, "deployment": "web"})
		return req
	}
	fails := c.commands(kube.Commands{"compact_storage": {Env: env, Args: shell(`printf 'first\nprinted '; printf '` + hostile + `'; echo "cannot log in with $PGPASSWORD" >&2; exit 3`)}})
	p, err := fails.preview(request())
	require.NoError(t, err)
	require.Contains(t, p.Change[0], "env PGPASSWORD=[secret] sh -c")
	_, err = fails.execute(request())
	require.ErrorContains(t, err, "exit code 3")
	require.ErrorContains(t, err, "cannot log in with [secret]")
	require.ErrorContains(t, err, "printed <U+001B>[2J<U+0007><0xFF>")
	require.NotContains(t, err.Error(), "hunter2")
	requirePrintable(t, err.Error())

	long := c.commands(kube.Commands{"compact_storage": {Env: env, Args: shell(`yes '` + "\a" + `' | head -c 30000000 | tr '\n' x; echo; echo "` + "`printf '" + hostile + "'`" + `$PGPASSWORD"`)}})
	r, err := long.execute(request())
	require.NoError(t, err)
	out := r.Outputs["output"].(string)
	require.True(t, strings.HasSuffix(out, "\n<U+001B>[2J<U+0007><0xFF>[secret]"), out[max(0, len(out)-100):])
	require.Less(t, len(out), 64<<10)
	requirePrintable(t, out)

	hangs := c.commands(kube.Commands{"compact_storage": {Args: shell(`echo waiting for the lock; exec sleep 600`)}})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = hangs.handlers["compact_storage"].Execute(ctx, request())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "has not ended, and may still run")
	require.ErrorContains(t, err, "waiting for the lock")
}

// No value of a plan is more than one argument or variable.
func TestNoValueOfAPlanIsCode(t *testing.T) {
	c := newCluster(t)
	c.kubelet("code-a")
	c.ready("db")
	file := filepath.Join(t.TempDir(), "got")
	k := c.commands(kube.Commands{"failover_database": {Probe: []string{"true"}, Env: map[string]string{"TO": "{targetReplica}"},
		Args: shell(`printf '%s|%s|%s' "$#" "$1" "$TO" > "$2"`, "{targetReplica}", file)}})
	for _, value := range []string{"; rm -rf /nowhere", "$(id)", "`id`", "a\nb", `'"\`, "{force}", "*", "${PATH}", "&& id", " ", ""} {
		req, _ := c.request("failover_database", map[string]any{"namespace": c.namespace, "database": "db"})
		req.Task.Parameters = actions.NewParameters(map[string]any{"namespace": c.namespace, "database": "db", "targetReplica": value})
		_, err := k.execute(req)
		require.NoError(t, err, "%q", value)
		got, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, "2|"+value+"|"+value, string(got))
	}
}

// tool puts a script where commands in pods find it before the real one.
func tool(t *testing.T, name, script string) {
	t.Helper()
	file := filepath.Join(filepath.Dir(jcmdFlag), name)
	require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\n"+script), 0o700))
	t.Cleanup(func() { _ = os.Remove(file) })
}

// agedFile makes a file that was not changed for some time.
func agedFile(t *testing.T, age time.Duration, path ...string) string {
	t.Helper()
	file := filepath.Join(path...)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
	require.NoError(t, os.WriteFile(file, []byte("12345"), 0o600))
	require.NoError(t, os.Chtimes(file, time.Now(), time.Now().Add(-age)))
	return file
}

// cleaning is a step of cleanup_storage whose parameters nobody has checked.
func (c *cluster) cleaning(path, age string) *actions.Request {
	c.Helper()
	req, _ := c.request("cleanup_storage", map[string]any{"namespace": c.namespace, "deployment": "web", "path": "/x"})
	req.Task.Parameters = actions.NewParameters(map[string]any{"namespace": c.namespace, "deployment": "web", "path": path, "ageThreshold": age})
	return req
}

func TestNothingIsCleanedUpOutsideOfWhatTheSiteAllows(t *testing.T) {
	c := newCluster(t)
	node := c.kubelet("outside-a")
	c.ready("web")
	root := t.TempDir()
	cache, other := filepath.Join(root, "cache"), filepath.Join(root, "other")
	precious := agedFile(t, 24*time.Hour, other, "b", "old")
	agedFile(t, 24*time.Hour, cache, "a", "b", "old")
	for _, link := range []string{filepath.Join(cache, "link"), filepath.Join(root, "allowed")} {
		require.NoError(t, os.Symlink(other, link))
	}
	k := c.as(controlplane.Admin, kube.Options{CleanupPaths: []string{cache, "/", "", ".", "cache", filepath.Join(root, "allowed")}})
	for path, want := range map[string]string{
		"/":                              "/ may not be cleaned up: the site allows",
		"":                               "may not be cleaned up",
		".":                              "may not be cleaned up",
		"cache":                          "may not be cleaned up",
		root:                             "may not be cleaned up",
		cache + "-2":                     "may not be cleaned up",
		cache + "/..":                    root + " may not be cleaned up",
		cache + "/../other":              other + " may not be cleaned up",
		cache + "/link":                  "is a link to " + other,
		cache + "/link/b":                "is a link to " + other + "/b",
		cache + "/a/../link/b":           "is a link to " + other + "/b",
		filepath.Join(root, "allowed/b"): "is a link to " + other + "/b",
		cache + "/none":                  "exit code 1",
	} {
		req := c.cleaning(path, "1h")
		_, err := k.preview(req)
		require.ErrorContains(t, err, want, path)
		_, err = k.execute(req)
		require.ErrorContains(t, err, want, path)
		require.False(t, actions.IsTransient(err), path)
	}
	// A folder above becomes a link once it was looked at.
	node.before = func(_ string, args []string) {
		if slices.Contains(args, "-delete") {
			require.NoError(t, errors.Join(os.Rename(filepath.Join(cache, "a"), filepath.Join(cache, "c")), os.Symlink(other, filepath.Join(cache, "a"))))
		}
	}
	r, err := k.execute(c.cleaning(cache+"/a/b", "1h"))
	require.NoError(t, err)
	require.Equal(t, "0 files of 0 bytes were deleted", r.Message)
	require.FileExists(t, precious)
}

func TestWhatIsCleanedUpIsAsOldAsWasSaidAndTold(t *testing.T) {
	c := newCluster(t)
	c.kubelet("age-a")
	c.ready("web")
	cache := t.TempDir()
	k := c.as(controlplane.Admin, kube.Options{CleanupPaths: []string{cache}})
	const age = 90*time.Minute + 30*time.Second
	young := agedFile(t, age-15*time.Second, cache, "young")
	old := agedFile(t, age+15*time.Second, cache, "a\nb c", "old")
	require.NoError(t, os.Link(old, filepath.Join(cache, "the same")))
	kept := agedFile(t, age+15*time.Second, cache, "linked")
	require.NoError(t, os.Link(kept, filepath.Join(t.TempDir(), "elsewhere")))
	r, err := k.execute(c.cleaning(cache, "90m30s"))
	require.NoError(t, err)
	require.Equal(t, "3 files of 5 bytes were deleted", r.Message, "bytes are free when their last name is gone")
	require.Equal(t, map[string]any{"files": 3, "bytes": int64(5), "pod": c.podsOf("web")[0].Name}, r.Outputs)
	require.FileExists(t, young)

	agedFile(t, 2*age, cache, "old")
	tool(t, "find", `case "$*" in *-delete*) /usr/bin/find "$@"; echo cannot delete the rest >&2; exit 1;; *) exec /usr/bin/find "$@";; esac`)
	_, err = k.execute(c.cleaning(cache, "90m30s"))
	require.ErrorContains(t, err, "at least 1 files of 5 bytes were deleted, and then: find in Pod")
	require.ErrorContains(t, err, "cannot delete the rest")
}

// A faulty store fails the first time that it is written to or read from.
type faultyStore struct {
	artifact.Store
	put  func(content io.Reader) io.Reader
	open func(kept io.Reader) io.Reader
	full bool // also afterwards
}

func (s *faultyStore) Put(ctx context.Context, run, name string, content io.Reader) (actions.Artifact, error) {
	if s.put != nil {
		content = s.put(content)
		s.put = nil
	} else if s.full {
		content = iotest.ErrReader(syscall.ENOSPC)
	}
	return s.Store.Put(ctx, run, name, content)
}

func (s *faultyStore) Open(ctx context.Context, run, name string) (io.ReadCloser, error) {
	r, err := s.Store.Open(ctx, run, name)
	if err != nil || s.open == nil {
		return r, err
	}
	read := s.open(r)
	s.open = nil
	return struct {
		io.Reader
		io.Closer
	}{read, r}, nil
}

func TestACopyThatIsNotWholeIsNotTakenForOne(t *testing.T) {
	c := newCluster(t)
	node := c.kubelet("whole-a")
	c.ready("web")
	dir := t.TempDir()
	link, file := filepath.Join(dir, "link"), filepath.Join(dir, "file")
	require.NoError(t, errors.Join(os.Symlink(file, link), os.WriteFile(file, make([]byte, 16<<20), 0o600)))
	full := func(r io.Reader) io.Reader {
		return io.MultiReader(io.LimitReader(r, 100<<10), iotest.ErrReader(syscall.ENOSPC))
	}
	lossy := func(r io.Reader) io.Reader { return io.LimitReader(r, 100<<10) }
	broken := func(io.Reader) io.Reader { return iotest.ErrReader(errors.New("the disk is broken")) }
	for name, test := range map[string]struct {
		path    string
		changes bool
		store   faultyStore
		want    string
		left    string // begins what is left, "" when nothing is
	}{
		"a file changes":        {path: file, changes: true, want: "file changed as we read it"},
		"the store is full":     {path: file, store: faultyStore{put: full}, want: "no space left on device"},
		"a link only":           {path: link, want: "has only links there: give the paths that they lead to"},
		"the store loses bytes": {path: file, store: faultyStore{put: lossy}, want: "artifact b was not written to its end", left: "This is not a copy of anything: artifact b was not"},
		"it reads other bytes":  {path: file, store: faultyStore{open: lossy}, want: "and reads back as", left: "This is not a copy of anything: "},
		"it cannot be read":     {path: file, store: faultyStore{open: broken}, want: "artifact b cannot be read back: the disk is broken", left: "This is not a copy of anything: "},
		"nor be replaced":       {path: file, store: faultyStore{put: lossy, full: true}, want: "artifact b of run r is still there, and wrong: remove it: artifact b: no space left on device", left: dir[1:]},
	} {
		t.Run(name, func(t *testing.T) {
			store := test.store
			store.Store = artifact.Folder(t.TempDir())
			k := c.as(controlplane.Admin, kube.Options{Artifacts: &store})
			node.before = func(string, []string) {}
			if test.changes {
				stop := make(chan struct{})
				done := make(chan struct{})
				t.Cleanup(func() { close(stop); <-done })
				node.before = func(string, []string) {
					go func() {
						defer close(done)
						f, err := os.OpenFile(test.path, os.O_APPEND|os.O_WRONLY, 0)
						for err == nil {
							select {
							case <-stop:
								_ = f.Close()
								return
							default:
								_, err = f.WriteString("more")
							}
						}
					}()
				}
			}
			req, con := c.artifactRequest("backup_data", "b", map[string]any{"deployment": "web", "paths": []any{test.path}})
			_, err := k.execute(req)
			require.ErrorContains(t, err, test.want)
			require.False(t, actions.IsTransient(err))
			req.Begun = con.undo
			r, err := store.Open(t.Context(), "r", "b")
			if test.left == "" {
				require.ErrorIs(t, err, artifact.ErrNotFound)
			} else {
				require.NoError(t, err)
				got := make([]byte, len(test.left))
				_, err = io.ReadFull(r, got)
				require.NoError(t, errors.Join(err, r.Close()))
				require.Equal(t, test.left, string(got))
			}
			if !test.store.full {
				require.Equal(t, actions.OutcomeDidNotHappen, k.probe(req))
			}
		})
	}
}

func TestAHeapDumpFillsNoDiskAndHarmsNoFile(t *testing.T) {
	c := newCluster(t)
	c.kubelet("dump-a")
	c.ready("web")
	dir := t.TempDir()
	file := filepath.Join(dir, "dump*.hprof")
	began := filepath.Join(dir, "began")
	agedFile(t, 0, dir, "dump-1.hprof")  // which is another one
	jcmd := func(script string) string { // whose process is the one that starts it
		return `case "$1" in -l) echo "$PPID app.jar";; *) eval "file=\${$#}"; ` + script + `;; esac`
	}
	const dumps = `printf dump > "$file"`
	for name, test := range map[string]struct {
		tools map[string]string
		there bool // a file is in the place
		stops bool
		want  string
		says  string
		kept  string
	}{
		"little room":            {tools: map[string]string{"jcmd": jcmd("echo dumped >&2; exit 9"), "df": `echo header; echo "/dev/x 100 90 10 90% /tmp"`}, want: "has 10 KiB free in " + dir + ", and the dump may need"},
		"no answer":              {tools: map[string]string{"jcmd": jcmd(dumps), "df": "echo nothing"}, want: "has 0 KiB free in"},
		"a file is there":        {tools: map[string]string{"jcmd": jcmd(dumps)}, there: true, want: "has a file " + file + " already: give another outputPath"},
		"the dumper fails":       {tools: map[string]string{"jcmd": jcmd(dumps + "; echo out of luck >&2; exit 1")}, want: "out of luck"},
		"the step is stopped":    {tools: map[string]string{"jcmd": jcmd(dumps + "; touch " + began + "; exec sleep 600")}, stops: true, want: "has not ended, and may still run"},
		"the dump comes changed": {tools: map[string]string{"jcmd": jcmd(dumps), "sha256sum": "echo 0123 -"}, want: "has SHA-256 0123 in the pod and", kept: "This is not a copy of anything: heap dump"},
		"it cannot be removed":   {tools: map[string]string{"jcmd": jcmd(dumps), "rm": "echo read-only >&2; exit 1"}, says: "; " + file + " may be left in Pod ", kept: "dump"},
		"nor when it failed":     {tools: map[string]string{"jcmd": jcmd(dumps + "; exit 3"), "rm": "echo read-only >&2; exit 1"}, want: "exit code 3; and " + file + " may be left in Pod "},
	} {
		t.Run(name, func(t *testing.T) {
			for tooled, script := range test.tools {
				tool(t, tooled, script)
			}
			_ = os.Remove(file)
			if test.there {
				require.NoError(t, os.WriteFile(file, []byte("precious"), 0o600))
			}
			store := artifact.Folder(t.TempDir())
			k := c.as(controlplane.Admin, kube.Options{Artifacts: store})
			req, _ := c.artifactRequest("create_heap_dump", "h", map[string]any{"deployment": "web", "outputPath": file})
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			if test.stops {
				go func() {
					for ctx.Err() == nil {
						if _, err := os.Stat(began); err == nil {
							stop()
						}
					}
				}()
			}
			r, err := k.handlers["create_heap_dump"].Execute(ctx, req)
			if test.want == "" {
				require.NoError(t, err)
				require.Contains(t, r.Message, test.says)
			} else {
				require.ErrorContains(t, err, test.want)
				require.NotContains(t, err.Error(), "dumped")
			}
			if test.there {
				data, err := os.ReadFile(file)
				require.NoError(t, err)
				require.Equal(t, "precious", string(data))
			} else if test.tools["rm"] == "" {
				require.NoFileExists(t, file)
			}
			kept, err := store.Open(t.Context(), "r", "h")
			if test.kept == "" {
				require.ErrorIs(t, err, artifact.ErrNotFound)
				return
			}
			require.NoError(t, err)
			data, err := io.ReadAll(kept)
			require.NoError(t, errors.Join(err, kept.Close()))
			require.True(t, strings.HasPrefix(string(data), test.kept), string(data))
		})
	}
}

func TestAFailOverIsDoneWhenTheProbeSaysSo(t *testing.T) {
	c := newCluster(t)
	node := c.kubelet("failover-a")
	c.ready("db")
	request := func() *actions.Request {
		req, _ := c.request("failover_database", map[string]any{"namespace": c.namespace, "database": "db"})
		return req
	}
	never := c.commands(kube.Commands{"failover_database": {Args: []string{"true"}, Probe: shell("echo still a standby >&2; exit 2")}})
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, errors.New("the step took too long"))
	defer cancel()
	_, err := never.handlers["failover_database"].Execute(ctx, request())
	require.ErrorContains(t, err, "failover_database ran, but its probe does not say that it is done (the step took too long): sh in Pod "+c.namespace+"/db-")
	require.ErrorContains(t, err, "exit code 2: still a standby")

	// The pod in which the command ran is replaced before its probe has said yes.
	file := filepath.Join(t.TempDir(), "failed over")
	first := c.podsOf("db")[0].Name
	now := int64(0)
	node.before = func(pod string, args []string) {
		if args[0] == "touch" {
			_ = c.client.CoreV1().Pods(c.namespace).Delete(context.Background(), pod, metav1.DeleteOptions{GracePeriodSeconds: &now})
		}
	}
	replaced := c.commands(kube.Commands{"failover_database": {Args: []string{"touch", file}, Probe: shell(`test -f "$1"`, file)}})
	ctx, cancel = context.WithTimeout(t.Context(), 3*eventually)
	defer cancel()
	_, err = replaced.handlers["failover_database"].Execute(ctx, request())
	require.NoError(t, err)
	node.mu.Lock()
	defer node.mu.Unlock()
	require.NotEqual(t, first+"/main", node.ran[len(node.ran)-1], "the probe asks a pod that is there")
}

// A pod of the same name that was made since is another one.
func TestACommandIsNotForAPodThatTookTheNameSince(t *testing.T) {
	c := newCluster(t)
	node := c.kubelet("name-a")
	pods := c.client.CoreV1().Pods(c.namespace)
	make := func() {
		_, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "solo"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "nothing"}}}}, metav1.CreateOptions{})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			p, err := pods.Get(t.Context(), "solo", metav1.GetOptions{})
			return err == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue })
		}, eventually, tick)
	}
	remove := func() { // kwok has to end it: it may not see another one of the name that comes too soon
		require.NoError(t, pods.Delete(t.Context(), "solo", metav1.DeleteOptions{}))
		require.Eventually(t, func() bool {
			_, err := pods.Get(t.Context(), "solo", metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		}, eventually, tick)
	}
	file := filepath.Join(t.TempDir(), "ran")
	k := c.commands(kube.Commands{"compact_storage": {Args: []string{"touch", file}}})
	for name, since := range map[string]func(){"replaced": func() { remove(); make() }, "gone": remove} {
		make()
		req, con := c.request("compact_storage", map[string]any{"namespace": c.namespace, "pod": "solo"})
		con.before = since
		_, err := k.execute(req)
		require.ErrorContains(t, err, "Pod "+c.namespace+"/solo was deleted or replaced after it was chosen, and the command was not run", name)
		require.True(t, actions.IsTransient(err))
		require.NoFileExists(t, file)
		if name == "replaced" {
			remove()
		}
	}
	require.Empty(t, node.ran)
}

func TestAPlaceholderOfNoParameterIsAnError(t *testing.T) {
	const has = " is no parameter of failover_database, which has {namespace} {database} {targetReplica} {force}"
	for text, want := range map[string]string{
		`failover_database: {args: [a, "{targetRelica}"], probe: [a]}`:                "commands: failover_database: {targetRelica}" + has,
		`failover_database: {args: [a], probe: [a, "{target_replica}"]}`:              "{target_replica}" + has,
		`failover_database: {args: [a], probe: [a], env: {X: "{ targetReplica }"}}`:   "{ targetReplica }" + has,
		`repair_database.index: {args: [a, "{kind}"]}`:                                "commands: repair_database.index: {kind} is no parameter of repair_database",
		`psql: {args: [psql, -d, "{databse}"]}`:                                       "commands: psql: {databse} is no parameter of repair_database",
		`failover_database: {args: [find, "{}", "{\"a\": 1}", "{database}", "x{y}"]}`: "",
	} {
		_, err := kube.ParseCommands([]byte(text))
		if want == "" {
			require.NoError(t, err, text)
		} else {
			require.ErrorContains(t, err, want, text)
		}
	}
	// Those that no file has are looked at before anything happens.
	c := newCluster(t)
	node := c.kubelet("placeholder-a")
	c.ready("db")
	for _, cmd := range []kube.Command{{Args: []string{"true", "{x}"}, Probe: []string{"true"}}, {Args: []string{"true"}, Probe: []string{"true", "{x}"}}} {
		k := c.commands(kube.Commands{"failover_database": cmd})
		req, con := c.request("failover_database", map[string]any{"namespace": c.namespace, "database": "db"})
		_, err := k.preview(req)
		require.ErrorContains(t, err, "failover_database is not configured: {x}"+has)
		_, err = k.execute(req)
		require.ErrorContains(t, err, has)
		require.Zero(t, con.begun)
	}
	require.Empty(t, node.ran)
}

// What is secret is not in what is gathered, wherever it stands.
func TestNoArchiveHasASecretInIt(t *testing.T) {
	c := newCluster(t)
	node := c.kubelet("secret-a")
	node.log = "it begins\n"
	_, err := c.client.CoreV1().Secrets(c.namespace).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "keys"}, StringData: map[string]string{"key": "hunter2-secret"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	c.deployment("web", 1, "")
	container := func(name string) string {
		return `{"name":"` + name + `","image":"nothing","env":[{"name":"PASSWORD","value":"hunter2-` + name + `"},{"name":"KEY","valueFrom":{"secretKeyRef":{"name":"keys","key":"key"}}}],
			"lifecycle":{"preStop":{"httpGet":{"port":80,"httpHeaders":[{"name":"Authorization","value":"hunter2-header"}]}}}}`
	}
	c.patchDeployment("web", `{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"env\":\"hunter2-applied\"}"}},
		"spec":{"template":{"spec":{"containers":[`+container("main")+`,`+container("second")+`]}}}}`)
	c.settled("web")
	store := artifact.Folder(t.TempDir())
	const lines = 6 << 20 / 10
	k := c.as(controlplane.Admin, kube.Options{Artifacts: store, Commands: kube.Commands{"collect_diagnostics.lock_graph": {
		Env: map[string]string{"PGPASSWORD": "hunter2-site", "URL": `{"password":"hunter2-json"}`}, Args: shell(`yes 123456789 | head -` + strconv.Itoa(lines) + `; echo "with $PGPASSWORD and $URL"`)}}})
	for _, parameters := range []map[string]any{{"deployment": "web"}, {}} {
		action := "audit_logs"
		for range 2 {
			req, _ := c.artifactRequest(action, "a", parameters)
			r, err := k.execute(req)
			require.NoError(t, err)
			content := string(artifactOf(t, store, r.Artifacts[0]))
			if action == "collect_diagnostics" {
				files := unpacked(t, content)
				content = ""
				for name, text := range files {
					content += name + "\n" + text
				}
				require.Contains(t, files["objects.json"], `"kind": "Deployment"`)
				require.Contains(t, files["objects.json"], `"value": "(hidden)"`)
				require.Contains(t, files["objects.json"], `"name": "keys"`, "where a value comes from is no secret")
				if parameters["deployment"] != nil { // a namespace is no place for a command
					require.Equal(t, "\nwith [secret] and [secret]", files["lock_graph.txt"][strings.LastIndexByte(files["lock_graph.txt"], '\n'):])
					require.Equal(t, "123456789\n", files["lock_graph.txt"][:10], "whole lines")
					require.Contains(t, files["missing.txt"], "collect_diagnostics.lock_graph: only the last 5 MiB are kept")
				}
			}
			require.NotContains(t, content, "hunter2")
			require.Contains(t, content, "it begins")
			action, parameters["type"] = "collect_diagnostics", "lock_graph"
		}
	}
}

// unpacked are the files of a bundle.
func unpacked(t *testing.T, content string) map[string]string {
	t.Helper()
	packed, err := gzip.NewReader(strings.NewReader(content))
	require.NoError(t, err)
	files := map[string]string{}
	archive := tar.NewReader(packed)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return files
		}
		require.NoError(t, err)
		data, err := io.ReadAll(archive)
		require.NoError(t, err)
		require.NotContains(t, files, h.Name)
		files[h.Name] = string(data)
	}
}
