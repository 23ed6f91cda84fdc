package kube

import (
	"context"
	"os"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// kinds are the API versions of the kinds of targets that are objects of a cluster.
var kinds = map[string]string{
	"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1", "Pod": "v1", "Node": "v1", "ConfigMap": "v1", "Secret": "v1",
	"PersistentVolumeClaim": "v1", "HorizontalPodAutoscaler": "autoscaling/v2", "NetworkPolicy": "networking.k8s.io/v1",
}

// eventNamespace is where events about an object are: those about objects without a namespace are in default.
func eventNamespace(t schema.Target) string {
	if t.Kind == "Node" {
		return metav1.NamespaceDefault
	}
	return t.Namespace
}

// The bounds of an event.
const (
	maxNote  = 1024
	tellTime = 3 * time.Second
)

// tell leaves an event on a step's object. It is a courtesy: when it cannot be written nothing is lost.
func (c *Cluster) tell(ctx context.Context, req *actions.Request, uid, reason, note string) {
	t := req.Target
	if kinds[t.Kind] == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTime)
	defer cancel()
	kind := corev1.EventTypeNormal
	if reason == "RemedyFailed" || reason == "RemedyUndoFailed" {
		kind = corev1.EventTypeWarning
	}
	instance, _ := os.Hostname()
	_, _ = c.client.EventsV1().Events(eventNamespace(t)).Create(ctx, &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{GenerateName: "remedy-", Namespace: eventNamespace(t)},
		EventTime:           metav1.NowMicro(),
		ReportingController: "remedykit.github.io/remedy",
		ReportingInstance:   instance,
		Action:              req.Action,
		Reason:              reason,
		Type:                kind,
		Note:                cut("run "+req.Run+", step "+req.Step+": "+note, maxNote),
		Regarding:           corev1.ObjectReference{APIVersion: kinds[t.Kind], Kind: t.Kind, Namespace: t.Namespace, Name: t.Name, UID: types.UID(uid)},
	}, metav1.CreateOptions{})
}

// cut is the beginning of a text, at most n bytes of it.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
