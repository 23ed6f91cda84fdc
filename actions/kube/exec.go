package kube

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/httpstream"
	remotecommandconsts "k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/kubefault"
	"github.com/remedykit/remedy/internal/wording"
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

// run runs an argument list in a container, never a shell. It is no error only when the node has said that the command succeeded.
func (c *Cluster) run(ctx context.Context, p place, args []string, stdout io.Writer) error {
	if err := c.same(ctx, p); err != nil {
		return err
	}
	req := c.client.CoreV1().RESTClient().Post().Namespace(p.pod.Namespace).Resource("pods").Name(p.pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: p.container, Command: args, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := c.executor(req.URL())
	if err != nil {
		return actions.Permanent(err)
	}
	stderr := &tail{most: 2 * maxStderr}
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: stdout, Stderr: stderr})
	if err == nil {
		return nil
	}
	where, said := args[0]+" in "+p.target().String(), c.said(stdout, stderr)
	if ctx.Err() != nil {
		return fmt.Errorf("%s has not ended, and may still run: %w%s", where, context.Cause(ctx), said)
	}
	if exit, ok := errors.AsType[utilexec.CodeExitError](err); ok {
		return actions.Permanent(fmt.Errorf("%s: exit code %d%s", where, exit.Code, said))
	}
	if errors.Is(err, errBroken) {
		return actions.Transient(fmt.Errorf("%s: %w%s", where, errBroken, said))
	}
	if apierrors.IsInternalError(err) || apierrors.ReasonForError(err) == metav1.StatusReasonUnknown && !kubefault.Passes(err) { // the kubelet could not run it, or it failed there: another try is the step's affair
		return actions.Permanent(fmt.Errorf("%s: %w%s", where, err, said))
	}
	return explain(err, "create", "pods/exec", p.target())
}

// same is nil while the pod of the name is the one that was found. The API server takes no precondition for exec: what is left is
// the moment between this look and the command.
func (c *Cluster) same(ctx context.Context, p place) error {
	var now *corev1.Pod
	err := patiently(ctx, func() (err error) {
		now, err = c.client.CoreV1().Pods(p.pod.Namespace).Get(ctx, p.pod.Name, metav1.GetOptions{})
		return explain(err, "get", "pods", p.target())
	})
	if apierrors.IsNotFound(err) || err == nil && now.UID != p.pod.UID {
		return actions.Transient(fmt.Errorf("%s was deleted or replaced after it was chosen, and the command was not run: another attempt chooses again", p.target()))
	}
	return err
}

// executor prefers SPDY, of which the API server passes on what the node says. It translates WebSockets, and says itself that a
// command succeeded when its own connection to the node breaks: they are for proxies that know nothing else.
func (c *Cluster) executor(where *url.URL) (remotecommand.Executor, error) {
	transport, upgrader, err := spdy.RoundTripperFor(c.config)
	if err != nil {
		return nil, err
	}
	first, err := remotecommand.NewSPDYExecutorForProtocols(transport, attentive{upgrader}, http.MethodPost, where,
		remotecommandconsts.StreamProtocolV5Name, remotecommandconsts.StreamProtocolV4Name) // those in which success is said
	if err != nil {
		return nil, err
	}
	second, err := remotecommand.NewWebSocketExecutor(c.config, http.MethodGet, where.String())
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(first, second, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}

// errBroken says that nobody knows how a command ended.
var errBroken = errors.New("the connection broke before the node said how the command ended")

// An attentive upgrader makes connections whose end is not taken for the success of a command.
type attentive struct{ spdy.Upgrader }

func (a attentive) NewConnection(r *http.Response) (httpstream.Connection, error) {
	conn, err := a.Upgrader.NewConnection(r)
	if err != nil && noSPDY(r.StatusCode) {
		return nil, &httpstream.UpgradeFailureError{Cause: err}
	}
	if err != nil {
		return nil, err
	}
	return attentiveConnection{conn}, nil
}

// noSPDY tells whether this is how a proxy answers that knows no SPDY, or an API server whose proxy has dropped the wish for it.
// Other failures are those of the node.
func noSPDY(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusUpgradeRequired, http.StatusNotImplemented:
		return true
	}
	return status < http.StatusBadRequest
}

type attentiveConnection struct{ httpstream.Connection }

func (a attentiveConnection) CreateStream(h http.Header) (httpstream.Stream, error) {
	s, err := a.Connection.CreateStream(h)
	if err != nil || h.Get(corev1.StreamType) != corev1.StreamTypeError {
		return s, err
	}
	return &verdict{Stream: s}, nil
}

// A verdict is the stream on which a node says how a command ended. Nothing at all is no success.
type verdict struct {
	httpstream.Stream
	said bool
}

func (v *verdict) Read(p []byte) (int, error) {
	n, err := v.Stream.Read(p)
	if v.said = v.said || n > 0; err == io.EOF && !v.said {
		err = errBroken
	}
	return n, err
}

// said is the end of what a command said, fit to be shown, to be put behind an error.
func (c *Cluster) said(stdout io.Writer, stderr *tail) string {
	text := stderr.String()
	if out, ok := stdout.(*tail); ok {
		text = strings.TrimSpace(out.end(2*maxStderr) + "\n" + text)
	}
	if text == "" {
		return ""
	}
	return ": " + wording.Visible(lastBytes(c.secrets.Replace(text), maxStderr)) // a secret is hidden whole before the text is cut
}

// output is run for commands that say little.
func (c *Cluster) output(ctx context.Context, p place, args ...string) (string, error) {
	out := &tail{most: 1 << 20}
	err := c.run(ctx, p, args, out)
	return out.String(), err
}

// A tail keeps the end of what is written to it, also by a command that nobody waits for any longer.
type tail struct {
	most int
	mu   sync.Mutex // guards what follows
	kept bytes.Buffer
	lost bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	if len(p) > t.most {
		p, t.lost = p[len(p)-t.most:], true
	}
	if over := t.kept.Len() + len(p) - t.most; over > 0 {
		t.kept.Next(over)
		t.lost = true
	}
	t.kept.Write(p)
	return n, nil
}

func (t *tail) String() string { return t.end(t.most) }

// end is what is kept, at most so many bytes of its end.
func (t *tail) end(most int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(lastBytes(t.kept.String(), most))
}

// lastBytes is the end of a text, whole characters of it.
func lastBytes(s string, most int) string {
	if len(s) <= most {
		return s
	}
	s = s[len(s)-most:]
	for i := 0; i < utf8.UTFMax && i < len(s); i++ {
		if utf8.RuneStart(s[i]) {
			return s[i:]
		}
	}
	return s
}

// stream is what a command writes. Closing it ends the command.
func (c *Cluster) stream(ctx context.Context, p place, args []string) io.ReadCloser {
	return piped(ctx, func(ctx context.Context, w io.Writer) error { return c.run(ctx, p, args, w) })
}

// piped is what a function writes. Closing it ends the function.
func piped(ctx context.Context, f func(ctx context.Context, w io.Writer) error) io.ReadCloser {
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(f(ctx, w))
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
		_, pods, err := c.podsOf(ctx, req)
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
		if req.Target.Kind == "PersistentVolumeClaim" {
			p.container = mounter(p.pod, req.Target.Name, p.container)
		}
		return nil
	})
	return p, err
}

// podsOf are the pods that a step is about, and the workload that they are of; nil for none.
func (c *Cluster) podsOf(ctx context.Context, req *actions.Request) (of runtime.Object, pods []*corev1.Pod, err error) {
	t := req.Target
	switch t.Kind {
	case "Database":
		of, err = c.database(ctx, req)
	case "Pod", "Deployment", "StatefulSet", "DaemonSet":
		if t, err = c.located(ctx, req.Task, t); err != nil {
			return nil, nil, err
		}
		if t.Kind != "Pod" {
			of, _, err = c.workload(ctx, t)
			break
		}
		of, err = c.client.CoreV1().Pods(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		err = explain(err, "get", "pods", t)
	case "PersistentVolumeClaim":
		pods, err = c.users(ctx, t)
		return nil, pods, err
	default:
		err = actions.Permanent(fmt.Errorf("%s has no pods: name a pod or a workload", t))
	}
	if err != nil {
		return nil, nil, err
	}
	if p, ok := of.(*corev1.Pod); ok {
		return nil, []*corev1.Pod{p}, nil
	}
	selector, err := selectorOf(of)
	if err != nil {
		return nil, nil, actions.Permanent(err)
	}
	pods, err = c.pods(ctx, of.(metav1.Object).GetNamespace(), selector)
	return of, pods, err
}

// users are the pods that have a claim for a volume.
func (c *Cluster) users(ctx context.Context, claim schema.Target) ([]*corev1.Pod, error) {
	if _, err := c.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Get(ctx, claim.Name, metav1.GetOptions{}); err != nil {
		return nil, explain(err, "get", "persistentvolumeclaims", claim)
	}
	all, err := c.pods(ctx, claim.Namespace, labels.Everything())
	return slices.DeleteFunc(all, func(p *corev1.Pod) bool { return volumeOf(p, claim.Name) == "" }), err
}

// volumeOf is the volume of a pod that is a claim's, "" for none.
func volumeOf(p *corev1.Pod, claim string) string {
	for i := range p.Spec.Volumes {
		if v := &p.Spec.Volumes[i]; v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == claim {
			return v.Name
		}
	}
	return ""
}

// mounter is the container that mounts a claim, the main one if it does.
func mounter(p *corev1.Pod, claim, main string) string {
	volume, found := volumeOf(p, claim), ""
	for _, one := range p.Spec.Containers {
		if !slices.ContainsFunc(one.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume }) {
			continue
		}
		if one.Name == main {
			return main
		}
		found = cmp.Or(found, one.Name)
	}
	return cmp.Or(found, main)
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
func (c *Cluster) database(ctx context.Context, req *actions.Request) (runtime.Object, error) {
	name, where := req.Target.Name, namespaces(req.Task)
	var named, labelled []runtime.Object
	for _, ns := range where {
		all, err := c.all(ctx, ns)
		if err != nil {
			return nil, err
		}
		for _, w := range all {
			l := w.object.GetLabels()
			switch {
			case w.target.Name == name:
				named = append(named, w.object.(runtime.Object))
			case l["app.kubernetes.io/instance"] == name || l["app"] == name:
				labelled = append(labelled, w.object.(runtime.Object))
			}
		}
		p, err := c.client.CoreV1().Pods(ns).Get(ctx, name, metav1.GetOptions{})
		switch {
		case err == nil:
			named = append(named, p)
		case !apierrors.IsNotFound(err):
			return nil, explain(err, "get", "pods", schema.Target{Kind: "Pod", Namespace: ns, Name: name})
		}
	}
	if len(named) == 0 {
		named = labelled
	}
	return oneOf(named, "a workload of database "+name, where)
}

// placeRights are the rights to find a step's pods and to run commands there.
func placeRights(t *actions.Task) []Right {
	return append(podRights(t), execRights(t)...)
}

// execRights are the rights to run commands in pods that are found already.
func execRights(t *actions.Task) []Right {
	return append(inPods(t, "get", "pods"), inPods(t, "create get", "pods/exec")...)
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
		case "Namespace", "":
			all = append(all, workloadRights("list", ns)...)
		case "Deployment", "StatefulSet", "DaemonSet":
			_, resource := workloads{}.name(t.Target)
			all = append(all, rightsTo("get", "apps", resource, ns, t.Target.Name)...)
		case "Database": // any may be it
			all = slices.Concat(all, workloadRights("list", ns), rightsTo("get", "", "pods", ns, t.Target.Name))
		case "PersistentVolumeClaim":
			all = append(all, rightsTo("get", "", "persistentvolumeclaims", ns, t.Target.Name)...)
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
