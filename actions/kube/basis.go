package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/remedykit/remedy/actions"
)

// basis is what a change of fields was worked out from: which object it is, and what its fields are. Of what may be secret
// it has the version of the object only.
func (e *edit) basis(live object, before []field) map[string]string {
	b := map[string]string{"uid": live.uid()}
	if e.hidesAny(before) {
		b["resourceVersion"] = live.version()
		return b
	}
	for _, f := range before {
		if slices.Equal(f.path, restartedAtPath) || slices.Equal(f.path, restartedByPath) { // a restart does not depend on the one before
			continue
		}
		b[strings.Join(f.path, ".")] = brief(f.value)
	}
	return b
}

// brief is a value as JSON, or the hash of a long one.
func brief(v any) string {
	data, err := json.Marshal(v)
	if err != nil || len(data) <= maxShown {
		return string(data)
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:8])
}

// resources are the API resources of the kinds of targets that are objects of a cluster.
var resources = map[string]schema.GroupVersionResource{
	"Deployment": {Group: "apps", Version: "v1", Resource: "deployments"}, "StatefulSet": {Group: "apps", Version: "v1", Resource: "statefulsets"},
	"DaemonSet": {Group: "apps", Version: "v1", Resource: "daemonsets"}, "Pod": {Version: "v1", Resource: "pods"}, "Node": {Version: "v1", Resource: "nodes"},
	"PersistentVolumeClaim": {Version: "v1", Resource: "persistentvolumeclaims"},
}

// identity binds what a step would do to the very object that its target is now, where its handler binds it to nothing more.
func (g *guarded) identity(ctx context.Context, req *actions.Request, p *actions.Preview) {
	r, ok := resources[req.Target.Kind]
	if p == nil || p.Basis != nil || !ok || !g.spec.Mutating() {
		return
	}
	o, err := g.c.dynamic.Resource(r).Namespace(req.Target.Namespace).Get(ctx, req.Target.Name, metav1.GetOptions{})
	if err == nil {
		p.Basis = map[string]string{"uid": string(o.GetUID())}
	}
}
