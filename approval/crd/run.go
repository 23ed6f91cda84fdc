package crd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/remedykit/remedy/approval"
)

// retry is after how long a vote is handed in again that could not be.
const retry = time.Minute

// notClosed selects the objects that votes may come to.
const notClosed = "status.state!=granted,status.state!=denied,status.state!=expired,status.state!=withdrawn"

// Run watches the open objects, all with one watch, and hands their votes in, one after another, until ctx ends, whose cause it
// returns. It refuses to begin without the admission policy, the definition, or the rights to watch, and waits for an API server that does
// not answer. It may be called again.
func (c *Channel) Run(ctx context.Context, d approval.Decider) error {
	err := patiently(ctx, func() error {
		if _, err := c.trusted(ctx); err != nil {
			return err
		}
		_, err := c.objects.List(ctx, metav1.ListOptions{FieldSelector: notClosed, Limit: 1})
		if err != nil {
			return fmt.Errorf("crd: ApprovalRequests in namespace %s: %w", c.namespace, explain(err))
		}
		return nil
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	r := &runner{channel: c, decider: d, heard: map[types.UID]map[string]string{}}
	informer := cache.NewSharedIndexInformerWithOptions(&cache.ListWatch{ListWithContextFunc: c.list, WatchFuncWithContext: c.watch},
		&unstructured.Unstructured{}, cache.SharedIndexInformerOptions{ResyncPeriod: retry})
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { r.look(ctx, o) },
		UpdateFunc: func(_, o any) { r.look(ctx, o) },
		DeleteFunc: r.forget,
	})
	err = errors.Join(err, informer.SetTransform(lean), informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
		if ctx.Err() == nil && !errors.Is(err, io.EOF) {
			c.report(fmt.Errorf("crd: watching ApprovalRequests in namespace %s: %w", c.namespace, explain(err)))
		}
	}))
	if err != nil {
		return fmt.Errorf("crd: %w", err)
	}
	informer.RunWithContext(ctx)
	return context.Cause(ctx)
}

func (c *Channel) list(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	o.FieldSelector = notClosed
	return c.objects.List(ctx, o)
}

// watch opens a watch that outlives ctx: whoever asked for it stops it, and client-go logs one that ends in another way.
func (c *Channel) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.FieldSelector = notClosed
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	opening := context.AfterFunc(ctx, cancel)
	defer opening()
	return c.objects.Watch(own, o)
}

// lean takes off what votes do not need, for memory.
func lean(o any) (any, error) {
	if u, ok := o.(*unstructured.Unstructured); ok {
		u.SetManagedFields(nil)
		for _, field := range []string{"drawing", "facts"} {
			unstructured.RemoveNestedField(u.Object, "spec", field)
		}
	}
	return o, nil
}

// A runner hands votes in. Only the informer's goroutine uses it.
type runner struct {
	channel *Channel
	decider approval.Decider
	heard   map[types.UID]map[string]string // the votes that were handed in, by object and user
}

func (r *runner) forget(o any) {
	if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = last.Obj
	}
	if u, ok := o.(*unstructured.Unstructured); ok {
		delete(r.heard, u.GetUID())
	}
}

func (r *runner) look(ctx context.Context, o any) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return
	}
	var req request
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &req); err != nil {
		return // not one that the definition lets be
	}
	if !req.open() || req.Metadata.Name != objectName(req.Spec.Key, req.Spec.Digest, req.Spec.Guard) {
		return
	}
	heard := r.heard[req.Metadata.UID]
	if heard == nil {
		heard = map[string]string{}
		r.heard[req.Metadata.UID] = heard
	}
	for _, user := range slices.Sorted(maps.Keys(req.Status.Votes)) {
		text, err := json.Marshal(req.Status.Votes[user])
		if err != nil || heard[user] == string(text) || ctx.Err() != nil {
			continue
		}
		answer, final := r.hand(ctx, &req, user)
		if final {
			heard[user] = string(text)
		}
		if answer == "" || answer == req.Status.Answers[user] {
			continue
		}
		if err := r.channel.write(ctx, req.Metadata.Name, map[string]any{"answers": map[string]string{user: answer}}); err != nil && ctx.Err() == nil {
			r.channel.report(err)
		}
	}
}

// counted is the answer to a vote that counts.
func counted(v vote) string { return "counted: " + v.Verdict }

// hand hands one vote in, and says what became of it; final is false when it is tried again. "" leaves the answer to another
// process, which may have the run.
func (r *runner) hand(ctx context.Context, req *request, user string) (answer string, final bool) {
	c := r.channel
	no := func(why string) string { return "not counted: " + words(why) }
	guard, err := c.trusted(ctx)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			c.report(err)
		}
		return no(err.Error()), false
	case guard != req.Spec.Guard:
		return no("the admission policy was changed or away after this was asked, so nobody knows who wrote this; it is asked anew when the run is resumed"), true
	}
	v := req.Status.Votes[user]
	d := approval.Decision{By: c.identity(user), Groups: v.Groups, Reason: v.Reason, Digest: cmp.Or(v.Digest, req.Spec.Digest), Verdict: approval.Rejected}
	if v.Verdict == approval.Approved.String() {
		d.Verdict = approval.Approved
	}
	if d.By == "" {
		return no("the runner does not know who you are"), true
	}
	err = r.decider.Decide(ctx, req.Spec.Run, req.Spec.Step, d)
	switch {
	case err == nil, errors.Is(err, approval.ErrVoted):
		return counted(v), true
	}
	for _, refusal := range []error{approval.ErrNotAsked, approval.ErrDecided, approval.ErrExpired, approval.ErrDigest, approval.ErrNotApprover} {
		switch {
		case !errors.Is(err, refusal):
		case req.Status.Answers[user] == counted(v): // before a restart
			return counted(v), true
		default:
			return no(err.Error()), true
		}
	}
	if ctx.Err() == nil {
		c.report(fmt.Errorf("crd: the vote of %s in ApprovalRequest %s/%s: %w", user, c.namespace, req.Metadata.Name, err))
	}
	return "", false
}
