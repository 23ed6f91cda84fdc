package kube_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/remedykit/remedy/actions/kube"
	"github.com/remedykit/remedy/internal/controlplane"
)

// A road leads to the API server, and can be cut.
type road struct {
	address, to string
	mu          sync.Mutex
	l           net.Listener // nil while it is cut
	conns       []net.Conn
}

func newRoad(t *testing.T, config *rest.Config) *road {
	t.Helper()
	u, err := url.Parse(config.Host)
	require.NoError(t, err)
	r := &road{to: u.Host}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r.address = l.Addr().String()
	r.serve(l)
	t.Cleanup(r.cut)
	config.Host = "https://" + r.address
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

// cut ends all connections and lets no other come.
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

func (r *road) mend(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", r.address)
	require.NoError(t, err)
	r.serve(l)
}

// The rollout ends while nobody can see it.
func TestAnAPIServerThatIsAwayForAWhileFailsNoRollout(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	const away = 30 * time.Second
	c := newCluster(t)
	c.node("away-a")
	c.deployment("slow", 2, "slow")
	c.settled("slow")
	config := configOf(t, controlplane.Admin)
	road := newRoad(t, config)
	k, err := kube.New(config, kube.Options{})
	require.NoError(t, err)
	t.Cleanup(k.Close)
	there := *c
	there.handlers = k.Handlers()
	restart, _ := there.request("rolling_restart_pods", map[string]any{"namespace": c.namespace, "deployment": "slow", "stableFor": "1s"})
	done := make(chan error, 1)
	go func() { _, err := there.execute(restart); done <- err }()
	require.Eventually(t, func() bool { return len(c.podsOf("slow")) > 2 }, eventually, tick)
	road.cut()
	time.AfterFunc(away, func() { road.mend(t) })
	require.NoError(t, <-done)
}
