package kube

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// claims are PersistentVolumeClaims.
type claims struct{}

func (claims) name(schema.Target) (group, resource string) { return "", "persistentvolumeclaims" }

func (claims) get(ctx context.Context, c *Cluster, t schema.Target) (object, error) {
	p, err := c.client.CoreV1().PersistentVolumeClaims(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
	return objectOf(p, err)
}

func (claims) patch(ctx context.Context, c *Cluster, t schema.Target, live object, fields []field, o metav1.PatchOptions) (object, error) {
	data, err := patchOf(live, fields)
	if err != nil {
		return nil, err
	}
	p, err := c.client.CoreV1().PersistentVolumeClaims(t.Namespace).Patch(ctx, t.Name, types.MergePatchType, data, o)
	return objectOf(p, err)
}

// expand asks for a larger volume.
type expand struct{}

var sizePath = []string{"spec", "resources", "requests", "storage"}

func (expand) want(req *actions.Request, _ object) []field {
	return []field{{sizePath, canonical(req.Parameters.String("size"))}}
}

func (v expand) check(ctx context.Context, c *Cluster, req *actions.Request, live object) error {
	want := v.want(req, live)
	now, _ := live.at(sizePath...).(string)
	if now != "" && !less(now, want[0].value.(string)) {
		if now == want[0].value {
			return nil
		}
		return actions.Permanent(fmt.Errorf("%s is %s already, and a volume cannot shrink to %s", req.Target, now, want[0].value))
	}
	if live.at("status", "phase") != string(corev1.ClaimBound) {
		return actions.Permanent(fmt.Errorf("%s is not bound to a volume yet", req.Target))
	}
	if resizing(live) {
		return actions.Permanent(fmt.Errorf("%s is being resized already: wait until that is done", req.Target))
	}
	name, _ := live.at("spec", "storageClassName").(string)
	class, err := c.client.StorageV1().StorageClasses().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return explain(err, "get", "storageclasses", schema.Target{Kind: "StorageClass", Name: name})
	}
	if class.AllowVolumeExpansion == nil || !*class.AllowVolumeExpansion {
		return actions.Permanent(fmt.Errorf("StorageClass %s of %s does not allow expansion (allowVolumeExpansion)", name, req.Target))
	}
	return nil
}

func resizing(live object) bool {
	all, _ := live.at("status", "conditions").([]any)
	return slices.ContainsFunc(all, func(c any) bool {
		m, _ := c.(map[string]any)
		kind, _ := m["type"].(string)
		return m["status"] == "True" && (kind == string(corev1.PersistentVolumeClaimResizing) || kind == string(corev1.PersistentVolumeClaimFileSystemResizePending))
	})
}

func (expand) rights(t *actions.Task) []Right {
	all := rightsTo("get", "storage.k8s.io", "storageclasses", "", "")
	if !t.Parameters.Given("waitForExpansion") || t.Parameters.Bool("waitForExpansion") {
		all = append(all, rightsTo("list watch", "", "persistentvolumeclaims", t.Target.Namespace, "")...)
	}
	return all
}

// settle waits until the file system has grown.
func (v expand) settle(ctx context.Context, c *Cluster, req *actions.Request, live object) (string, error) {
	want := v.want(req, live)[0].value.(string)
	if !req.Parameters.Bool("waitForExpansion") {
		return "the volume was asked to grow to " + want + "; it was not waited for", nil
	}
	has := "unknown"
	err := c.await(ctx, "persistentvolumeclaims", req.Target.Namespace, func(o runtime.Object, gone bool) (bool, error) {
		p := o.(*corev1.PersistentVolumeClaim)
		if string(p.UID) != live.uid() {
			return false, nil
		}
		if gone {
			return false, actions.Permanent(fmt.Errorf("%s was deleted while it grew", req.Target))
		}
		q := p.Status.Capacity[corev1.ResourceStorage]
		has = q.String()
		now, err := objectOf(p, nil)
		return err == nil && !less(has, want) && !resizing(now), nil
	})
	if err != nil {
		return "", fmt.Errorf("%s has %s, not %s: %w", req.Target, has, want, err)
	}
	return "the volume has " + has, nil
}
