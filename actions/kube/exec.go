package kube

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/kubefault"
	"github.com/remedykit/remedy/schema"
)

// execHandlers are the handlers that run commands in pods, or gather what pods and the cluster have to tell.
func (c *Cluster) execHandlers() map[string]handler {
	named := func(req *actions.Request) string { return req.Action }
	return map[string]handler{
		"compact_storage":     &command{c, named},
		"failover_database":   &command{c, named},
		"repair_database":     &repair{command{c, func(req *actions.Request) string { return req.Action + "." + req.Parameters.String("repairType") }}},
		"cleanup_storage":     &cleanup{c},
		"backup_data":         &backup{c},
		"create_heap_dump":    &heapDump{c},
		"collect_diagnostics": &diagnostics{c},
		"audit_logs":          &auditLogs{c},
	}
}

// A place is a container in which commands run.
type place struct {
	pod       *corev1.Pod
	container string
}

func (p place) target() schema.Target {
	return schema.Target{Kind: "Pod", Namespace: p.pod.Namespace, Name: p.pod.Name}
}

// maxStderr is how much is kept of what a command says when it fails.
const maxStderr = 2000

// An exitError is a command that ran and failed.
type exitError struct {
	code   int
	stderr string
}

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d: %s", e.code, e.stderr) }

// run runs an argument list in a container, never a shell.
func (c *Cluster) run(ctx context.Context, p place, args []string, stdout io.Writer) error {
	req := c.client.CoreV1().RESTClient().Post().Namespace(p.pod.Namespace).Resource("pods").Name(p.pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: p.container, Command: args, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	ws, err := remotecommand.NewWebSocketExecutor(c.config, http.MethodGet, req.URL().String())
	if err != nil {
		return actions.Permanent(err)
	}
	spdy, err := remotecommand.NewSPDYExecutor(c.config, http.MethodPost, req.URL())
	if err != nil {
		return actions.Permanent(err)
	}
	executor, err := remotecommand.NewFallbackExecutor(ws, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return actions.Permanent(err)
	}
	stderr := &tail{most: maxStderr}
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: stdout, Stderr: stderr})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if exit, ok := errors.AsType[utilexec.CodeExitError](err); ok {
		return actions.Permanent(fmt.Errorf("%s in %s: %w", args[0], p.target(), &exitError{exit.Code, stderr.String()}))
	}
	if err != nil && (apierrors.IsInternalError(err) || apierrors.ReasonForError(err) == metav1.StatusReasonUnknown && !kubefault.Passes(err)) { // the kubelet could not run it, or it failed there: another try is the step's affair
		return actions.Permanent(fmt.Errorf("%s in %s: %w", args[0], p.target(), err))
	}
	return explain(err, "create", "pods/exec", p.target())
}

// output is run for commands that say little.
func (c *Cluster) output(ctx context.Context, p place, args ...string) (string, error) {
	out := &tail{most: 1 << 20}
	err := c.run(ctx, p, args, out)
	return out.String(), err
}

// A tail keeps the end of what is written to it.
type tail struct {
	most int
	kept bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if len(p) > t.most {
		p = p[len(p)-t.most:]
	}
	if over := t.kept.Len() + len(p) - t.most; over > 0 {
		t.kept.Next(over)
	}
	t.kept.Write(p)
	return n, nil
}

func (t *tail) String() string { return strings.TrimSpace(t.kept.String()) }

// stream is what a command writes. Closing it ends the command.
func (c *Cluster) stream(ctx context.Context, p place, args []string) io.ReadCloser {
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(c.run(ctx, p, args, w))
	}()
	return &streamed{r, cancel, done}
}

type streamed struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

func (s *streamed) Close() error {
	s.cancel()
	err := s.PipeReader.Close()
	<-s.done
	return err
}

// place is where a step's commands run: its pod, or the ready pod of its workload or database that is oldest.
func (c *Cluster) place(ctx context.Context, req *actions.Request) (p place, err error) {
	err = patiently(ctx, func() error {
		pods, err := c.podsOf(ctx, req)
		if err != nil {
			return err
		}
		pods = slices.DeleteFunc(pods, func(p *corev1.Pod) bool { return !podReady(p) })
		if len(pods) == 0 {
			return actions.Permanent(fmt.Errorf("%s has no ready pod to run a command in", req.Target))
		}
		p.pod = slices.MinFunc(pods, func(a, b *corev1.Pod) int {
			return cmp.Or(a.CreationTimestamp.Time.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
		})
		p.container = mainContainer(&corev1.PodTemplateSpec{ObjectMeta: p.pod.ObjectMeta, Spec: p.pod.Spec})
		return nil
	})
	return p, err
}

// podsOf are the pods that a step is about.
func (c *Cluster) podsOf(ctx context.Context, req *actions.Request) ([]*corev1.Pod, error) {
	t := req.Target
	switch t.Kind {
	case "Database":
		found, err := c.database(ctx, req)
		if err != nil {
			return nil, err
		}
		t = found
	case "Pod", "Deployment", "StatefulSet", "DaemonSet":
		located, err := c.located(ctx, req.Task, t)
		if err != nil {
			return nil, err
		}
		t = located
	default:
		return nil, actions.Permanent(fmt.Errorf("%s has no pods: name a pod or a workload", t))
	}
	if t.Kind == "Pod" {
		p, err := c.client.CoreV1().Pods(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		return []*corev1.Pod{p}, explain(err, "get", "pods", t)
	}
	o, _, err := c.workload(ctx, t)
	if err != nil {
		return nil, err
	}
	selector, err := selectorOf(o)
	if err != nil {
		return nil, actions.Permanent(err)
	}
	return c.pods(ctx, t.Namespace, selector)
}

func (c *Cluster) pods(ctx context.Context, namespace string, selector labels.Selector) ([]*corev1.Pod, error) {
	list, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, explain(err, "list", "pods", schema.Target{Kind: "pods", Namespace: namespace})
	}
	all := make([]*corev1.Pod, len(list.Items))
	for i := range list.Items {
		all[i] = &list.Items[i]
	}
	return all, nil
}

// database is the workload or the pod of a database: the one of its name, else the only workload with that name for a label.
func (c *Cluster) database(ctx context.Context, req *actions.Request) (schema.Target, error) {
	name, where := req.Target.Name, namespaces(req.Task)
	var named, labelled []schema.Target
	for _, ns := range where {
		all, err := c.all(ctx, ns)
		if err != nil {
			return schema.Target{}, err
		}
		for _, w := range all {
			l := w.object.GetLabels()
			switch {
			case w.target.Name == name:
				named = append(named, w.target)
			case l["app.kubernetes.io/instance"] == name || l["app"] == name:
				labelled = append(labelled, w.target)
			}
		}
		_, err = c.client.CoreV1().Pods(ns).Get(ctx, name, metav1.GetOptions{})
		switch {
		case err == nil:
			named = append(named, schema.Target{Kind: "Pod", Namespace: ns, Name: name})
		case !apierrors.IsNotFound(err):
			return schema.Target{}, explain(err, "get", "pods", schema.Target{Kind: "Pod", Namespace: ns, Name: name})
		}
	}
	if len(named) == 0 {
		named = labelled
	}
	return oneOf(named, "a workload of database "+name, where)
}

// placeRights are the rights to find a step's pods and to run commands there.
func placeRights(t *actions.Task) []Right {
	return append(podRights(t), inPods(t, "create get", "pods/exec")...)
}

// podRights are the rights to find the pods that a step is about.
func podRights(t *actions.Task) []Right {
	var all []Right
	for _, ns := range namespaces(t) {
		if t.Target.Kind == "Pod" {
			all = append(all, rightsTo("get", "", "pods", ns, t.Target.Name)...)
			continue
		}
		all = append(all, rightsTo("list", "", "pods", ns, "")...)
		switch t.Target.Kind {
		case "Deployment", "StatefulSet", "DaemonSet":
			_, resource := workloads{}.name(t.Target)
			all = append(all, rightsTo("get", "apps", resource, ns, t.Target.Name)...)
		case "Database": // any may be it
			all = slices.Concat(all, workloadRights("get list", ns), rightsTo("get", "", "pods", ns, t.Target.Name))
		}
	}
	return all
}

// inPods are the rights to do something in the pods that a step is about.
func inPods(t *actions.Task, verbs, resource string) []Right {
	name := ""
	if t.Target.Kind == "Pod" {
		name = t.Target.Name
	}
	var all []Right
	for _, ns := range namespaces(t) {
		all = append(all, rightsTo(verbs, "", resource, ns, name)...)
	}
	return all
}
