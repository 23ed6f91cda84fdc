package kube_test

import (
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/controlplane"
	"github.com/remedykit/remedy/internal/controlplane/kubetest"
)

// jcmdFlag is the file that commands in pods find as jcmd, when a test puts it there.
var jcmdFlag string

// Commands in pods run on this machine, with the path of the process that starts the cluster.
func TestMain(m *testing.M) {
	bin, err := os.MkdirTemp("", "remedy-bin-")
	if err != nil {
		panic(err)
	}
	jcmdFlag = filepath.Join(bin, "jcmd")
	_ = os.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	code := kubetest.Main(m)
	_ = os.RemoveAll(bin)
	os.Exit(code)
}

// How long a controller may take to notice something, and how often a test looks.
const (
	eventually = 10 * time.Second
	tick       = 20 * time.Millisecond
)

// counting counts the watches that a client opens.
func counting(config *rest.Config) (*rest.Config, *atomic.Int64) {
	var watches atomic.Int64
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Query().Get("watch") != "" {
				watches.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	return config, &watches
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// mustQuantity is a quantity.
func mustQuantity(s string) apiresource.Quantity { return apiresource.MustParse(s) }

var volumeSnapshots = apischema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshots"}

func (c *cluster) dynamic() dynamic.NamespaceableResourceInterface {
	c.Helper()
	client, err := dynamic.NewForConfig(configOf(c.T, controlplane.Admin))
	require.NoError(c, err)
	return client.Resource(volumeSnapshots)
}

// snapshotDefinition defines VolumeSnapshots as far as they matter here.
func (c *cluster) snapshotDefinition() {
	c.Helper()
	client, err := dynamic.NewForConfig(configOf(c.T, controlplane.Admin))
	require.NoError(c, err)
	_, err = client.Resource(apischema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).Create(c.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "volumesnapshots.snapshot.storage.k8s.io", "annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, for a test"}},
		"spec": map[string]any{"group": volumeSnapshots.Group, "scope": "Namespaced", "names": map[string]any{"kind": "VolumeSnapshot", "plural": "volumesnapshots"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "subresources": map[string]any{"status": map[string]any{}},
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}},
	}}, metav1.CreateOptions{})
	require.NoError(c, err)
}

// requirePreview compares previews but for their basis, which has the object's UID.
func requirePreview(t *testing.T, want, got *actions.Preview, why ...any) {
	t.Helper()
	require.NotEmpty(t, got.Basis)
	plain := *got
	plain.Basis = nil
	require.Equal(t, want, &plain, why...)
}
