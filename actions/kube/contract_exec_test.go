package kube_test

import (
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
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apimachinery/pkg/util/httpstream/spdy"

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
	_, err := c.client.CoreV1().Nodes().Patch(c.Context(), node, types.StrategicMergePatchType,
		[]byte(`{"status":{"daemonEndpoints":{"kubeletEndpoint":{"Port":`+port+`}}}}`), metav1.PatchOptions{}, "status")
	require.NoError(c, err)
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
			require.ErrorContains(t, err, "it runs", name)
			require.Equal(t, 1, con.begun)
			req.Begun = con.undo
			if action == "compact_storage" {
				require.Equal(t, actions.OutcomeUnknown, there.probe(req), "without a probe nobody knows")
			} else {
				require.Equal(t, actions.OutcomeDidNotHappen, there.probe(req))
			}
		}
	}
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
