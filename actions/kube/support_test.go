package kube_test

import (
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// podMetrics are what a metrics server serves.
var podMetrics = apischema.GroupVersionResource{Group: "metrics.k8s.io", Version: "v1beta1", Resource: "pods"}

func (c *cluster) dynamic() dynamic.NamespaceableResourceInterface {
	return c.resource(volumeSnapshots)
}

func (c *cluster) resource(r apischema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	c.Helper()
	client, err := dynamic.NewForConfig(configOf(c.T, controlplane.Admin))
	require.NoError(c, err)
	return client.Resource(r)
}

// snapshotDefinition defines VolumeSnapshots as far as they matter here.
func (c *cluster) snapshotDefinition() {
	c.Helper()
	c.definition(volumeSnapshots, "VolumeSnapshot", map[string]any{"status": map[string]any{}})
}

// definition defines a resource whose objects may have any fields, unless it is there.
func (c *cluster) definition(r apischema.GroupVersionResource, kind string, subresources map[string]any) {
	c.Helper()
	_, err := c.resource(apischema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).Create(c.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": r.GroupResource().String(), "annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, for a test"}},
		"spec": map[string]any{"group": r.Group, "scope": "Namespaced", "names": map[string]any{"kind": kind, "plural": r.Resource},
			"versions": []any{map[string]any{"name": r.Version, "served": true, "storage": true, "subresources": subresources,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}},
	}}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		require.NoError(c, err)
	}
}

// requirePreview compares previews but for their basis, which has the object's UID.
func requirePreview(t *testing.T, want, got *actions.Preview, why ...any) {
	t.Helper()
	require.NotEmpty(t, got.Basis)
	plain := *got
	plain.Basis = nil
	require.Equal(t, want, &plain, why...)
}
