package kube_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apimachinery/pkg/util/httpstream/spdy"

	"github.com/remedykit/remedy/actions/kube"
	"github.com/remedykit/remedy/internal/controlplane"
)

// A kubelet runs commands on this machine and says with which code they ended, as a real one does, and the one of the other
// tests does not.
type kubelet struct {
	mu    sync.Mutex
	conns []net.Conn
}

// kubelet makes a node with a kubelet that tells how commands end.
func (c *cluster) kubelet(node string) *kubelet {
	c.Helper()
	c.node(node)
	k := &kubelet{}
	s := httptest.NewUnstartedServer(k)
	s.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateHijacked {
			k.mu.Lock()
			k.conns = append(k.conns, conn)
			k.mu.Unlock()
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
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { <-conn.CloseChan(); cancel() }()
	args := r.URL.Query()["command"]
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = streams[corev1.StreamTypeStdout], streams[corev1.StreamTypeStderr]
	status := metav1.Status{Status: metav1.StatusSuccess}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		status = metav1.Status{Status: metav1.StatusFailure, Reason: "NonZeroExitCode", Message: "command terminated with non-zero exit code",
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: "ExitCode", Message: strconv.Itoa(exit.ExitCode())}}}}
	} else if err != nil {
		status = metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonInternalError, Message: err.Error(), Code: http.StatusInternalServerError}
	}
	data, _ := json.Marshal(status)
	_, _ = streams[corev1.StreamTypeError].Write(data)
	for _, s := range streams {
		_ = s.Close()
	}
	<-conn.CloseChan() // the other side has read all
}

// A command of which nobody knows how it ended did not succeed.
func TestACommandWhoseConnectionBreaksDidNotSucceed(t *testing.T) {
	c := newCluster(t)
	node := c.kubelet("broken-a")
	c.ready("web")
	flag := t.TempDir() + "/runs"
	k := c.as(controlplane.Admin, kube.Options{Commands: kube.Commands{"compact_storage": {Args: []string{"sh", "-c", "echo runs >&2; touch " + flag + "; exec sleep 600"}}}})
	req, _ := c.request("compact_storage", map[string]any{"namespace": c.namespace, "deployment": "web"})
	done := make(chan error, 1)
	go func() { _, err := k.execute(req); done <- err }()
	require.Eventually(t, func() bool { return exists(flag) }, eventually, tick)
	node.die()
	err := <-done
	require.Error(t, err)
	fmt.Println(err)
	_ = io.EOF
}

func exists(file string) bool { return exec.Command("test", "-e", file).Run() == nil }
