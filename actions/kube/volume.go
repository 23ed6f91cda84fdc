package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

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

func (expand) want(req *actions.Request, live object) []field {
	want := canonical(req.Parameters.String("size"))
	if now, _ := live.at(sizePath...).(string); now != "" && !less(now, want) && !less(want, now) { // the same, in other words
		want = now
	}
	return []field{{sizePath, want}}
}

func (v expand) check(ctx context.Context, c *Cluster, req *actions.Request, live object) error {
	want := v.want(req, live)[0].value.(string)
	now, _ := live.at(sizePath...).(string)
	if now == want {
		return nil
	}
	if now != "" && !less(now, want) {
		return actions.Permanent(fmt.Errorf("%s is %s already, and a volume cannot shrink to %s", req.Target, now, want))
	}
	if live.at("status", "phase") != string(corev1.ClaimBound) {
		return actions.Permanent(fmt.Errorf("%s is not bound to a volume yet", req.Target))
	}
	if resizing(live) {
		return actions.Permanent(fmt.Errorf("%s is being resized already: wait until that is done", req.Target))
	}
	name, _ := live.at("spec", "storageClassName").(string)
	if name == "" {
		return actions.Permanent(fmt.Errorf("%s has no storage class that would allow expansion", req.Target))
	}
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

func (expand) waits(req *actions.Request) bool { return req.Parameters.Bool("waitForExpansion") }

// settle waits until the file system has grown.
func (v expand) settle(ctx context.Context, c *Cluster, req *actions.Request, live object) (string, error) {
	want := v.want(req, live)[0].value.(string)
	if !v.waits(req) {
		return "the volume was asked to grow to " + want + "; it was not waited for", nil
	}
	has := "its former size"
	err := c.await(ctx, "persistentvolumeclaims", req.Target.Namespace, func(o runtime.Object, gone bool) (bool, error) {
		p := o.(*corev1.PersistentVolumeClaim)
		if p.Name != req.Target.Name {
			return false, nil
		}
		if order, err := resourceversion.CompareResourceVersion(p.ResourceVersion, live.version()); err == nil && order < 0 {
			return false, nil
		}
		if gone || string(p.UID) != live.uid() {
			return false, actions.Permanent(fmt.Errorf("%s was deleted while it grew", req.Target))
		}
		now, err := objectOf(p, nil)
		if err != nil {
			return false, err
		}
		q := p.Status.Capacity[corev1.ResourceStorage]
		has = strings.Join(append([]string{q.String()}, resizeNotes(p)...), "; ")
		if !less(q.String(), want) {
			return !resizing(now), nil
		}
		if tried := p.Status.AllocatedResources[corev1.ResourceStorage]; infeasible(p) && !less(tried.String(), want) {
			return false, actions.Permanent(errors.New("its driver has given up"))
		}
		return false, nil
	})
	if err != nil {
		return "", fmt.Errorf("%s was to have %s, and has %s: %w", req.Target, want, has, err)
	}
	return "the volume has " + has, nil
}

// resizeNotes are what is said of a resize that is not done.
func resizeNotes(p *corev1.PersistentVolumeClaim) (notes []string) {
	for _, c := range p.Status.Conditions {
		switch c.Type {
		case corev1.PersistentVolumeClaimResizing, corev1.PersistentVolumeClaimFileSystemResizePending,
			corev1.PersistentVolumeClaimControllerResizeError, corev1.PersistentVolumeClaimNodeResizeError:
			if c.Status == corev1.ConditionTrue {
				notes = append(notes, strings.TrimSuffix(string(c.Type)+": "+c.Message, ": "))
			}
		}
	}
	return notes
}

// infeasible tells whether the storage driver has given a resize up.
func infeasible(p *corev1.PersistentVolumeClaim) bool {
	s := p.Status.AllocatedResourceStatuses[corev1.ResourceStorage]
	return s == corev1.PersistentVolumeClaimControllerResizeInfeasible || s == corev1.PersistentVolumeClaimNodeResizeInfeasible
}
