// Package kubetest gives the tests of a package one real control plane.
//
//	func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }
//
//	func TestScale(t *testing.T) {
//		cluster := kubetest.Cluster(t) // skips when the programs are not built
//		…
//	}
package kubetest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/remedykit/remedy/internal/controlplane"
)

var (
	once    sync.Once
	cluster *controlplane.Cluster
	failure error
)

// Users may authenticate at the cluster, and have no rights.
var Users = []string{"ann", "bob", "eve", "runner"}

// Main runs the tests and stops the cluster, if one of them started it.
func Main(m *testing.M) int {
	defer func() {
		if cluster != nil {
			cluster.Stop()
		}
	}()
	return m.Run()
}

// Cluster is the cluster of the package's tests; the first call starts it. A test is skipped when the programs are not
// built, and says how to build them.
func Cluster(t testing.TB) *controlplane.Cluster {
	t.Helper()
	once.Do(func() {
		cluster, failure = controlplane.Start(context.Background(), controlplane.Options{Users: Users})
	})
	if errors.Is(failure, controlplane.ErrNotBuilt) {
		t.Skip(failure)
	}
	if failure != nil {
		t.Fatal(failure)
	}
	return cluster
}
