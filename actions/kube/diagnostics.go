package kube

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// The bounds of what is gathered.
const (
	maxLogs = 5 << 20 // of a container
	maxPods = 50
)

// diagnostics gathers what there is to know of a namespace, a workload, a pod or a database into one archive.
type diagnostics struct{ c *Cluster }

func (h *diagnostics) rights(t *actions.Task) []Right {
	kind := t.Parameters.String("type")
	if kind == "heap_dump" {
		return placeRights(t)
	}
	all := podRights(t)
	if t.Parameters.Bool("includeLogs") {
		all = append(all, inPods(t, "get", "pods/log")...)
	}
	if t.Parameters.Bool("includeEvents") {
		all = append(all, eventRights(t)...)
	}
	if t.Parameters.Bool("includeMetrics") {
		for _, ns := range namespaces(t) {
			all = append(all, rightsTo("list", "metrics.k8s.io", "pods", ns, "")...)
		}
	}
	if _, own := h.c.commands["collect_diagnostics."+kind]; own {
		all = append(all, inPods(t, "create get", "pods/exec")...)
	}
	return all
}

// eventRights are the rights to read the events of a step's namespaces.
func eventRights(t *actions.Task) []Right {
	var all []Right
	for _, ns := range namespaces(t) {
		all = append(all, rightsTo("list", "events.k8s.io", "events", ns, "")...)
	}
	return all
}

// subject are the pods that a step is about, and the workload or the pod itself; of a whole namespace all pods.
func (c *Cluster) subject(ctx context.Context, req *actions.Request) (objects []runtime.Object, pods []*corev1.Pod, err error) {
	err = patiently(ctx, func() error {
		objects = nil
		switch t := req.Target; t.Kind {
		case "Namespace", "":
			for _, ns := range namespaces(req.Task) {
				some, err := c.pods(ctx, ns, labels.Everything())
				if err != nil {
					return err
				}
				pods = append(pods, some...)
			}
			return nil
		case "Deployment", "StatefulSet", "DaemonSet":
			t, err := c.located(ctx, req.Task, t)
			if err != nil {
				return err
			}
			o, _, err := c.workload(ctx, t)
			if err != nil {
				return err
			}
			objects = append(objects, o)
		}
		pods, err = c.podsOf(ctx, req)
		return err
	})
	slices.SortFunc(pods, func(a, b *corev1.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	if len(pods) > maxPods {
		pods = pods[:maxPods]
	}
	return objects, pods, err
}

func (h *diagnostics) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	if err := h.c.stored(); err != nil {
		return nil, err
	}
	_, pods, err := h.c.subject(ctx, req)
	if err != nil {
		return nil, err
	}
	return &actions.Preview{Verdict: actions.Verified, Change: []string{fmt.Sprintf("keep what there is to know of %d pods as %s", len(pods), req.Artifact)}}, nil
}

func (h *diagnostics) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if err := h.c.stored(); err != nil {
		return nil, err
	}
	kind := req.Parameters.String("type")
	if kind == "heap_dump" {
		p, err := h.c.place(ctx, req)
		if err != nil {
			return nil, err
		}
		a, err := h.c.dump(ctx, req, p, req.Artifact)
		if err != nil {
			return nil, err
		}
		return leaving(a), nil
	}
	objects, pods, err := h.c.subject(ctx, req)
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(h.bundle(ctx, req, objects, pods, w)) }()
	a, err := h.c.keep(ctx, req, req.Artifact, r)
	if err != nil {
		return nil, err
	}
	return leaving(a), nil
}

// A bundle is a compressed archive that is being written.
type bundle struct {
	tar *tar.Writer
	at  time.Time
}

func (b *bundle) add(name string, content []byte) error {
	if err := b.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: b.at}); err != nil {
		return err
	}
	_, err := b.tar.Write(content)
	return err
}

func (b *bundle) addJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return b.add(name, data)
}

// bundle writes the archive. What cannot be had is told in it, and fails nothing.
func (h *diagnostics) bundle(ctx context.Context, req *actions.Request, objects []runtime.Object, pods []*corev1.Pod, w io.Writer) error {
	packed := gzip.NewWriter(w)
	b := &bundle{tar.NewWriter(packed), time.Now()}
	var missing []string
	told := func(what string, err error) error {
		if err != nil && ctx.Err() == nil {
			missing = append(missing, what+": "+err.Error())
			return nil
		}
		return err
	}
	for _, p := range pods {
		objects = append(objects, p)
	}
	var all []any
	for _, o := range objects {
		all = append(all, public(o))
	}
	if err := b.addJSON("objects.json", all); err != nil {
		return err
	}
	since := time.Now().Add(-req.Parameters.Duration("timeRange"))
	if req.Parameters.Bool("includeEvents") {
		events, err := h.c.events(ctx, req.Task, objects, since)
		if err := errors.Join(told("events", err), b.addJSON("events.json", events)); err != nil {
			return err
		}
	}
	if req.Parameters.Bool("includeLogs") {
		for _, p := range pods {
			for _, one := range p.Spec.Containers {
				text, err := h.c.logs(ctx, p, one.Name, since)
				if err := errors.Join(told("log of "+p.Name+"/"+one.Name, err), b.add("logs/"+p.Namespace+"/"+p.Name+"/"+one.Name+".log", text)); err != nil {
					return err
				}
			}
		}
	}
	if req.Parameters.Bool("includeMetrics") {
		for _, ns := range namespaces(req.Task) {
			data, err := h.c.client.CoreV1().RESTClient().Get().AbsPath("/apis/metrics.k8s.io/v1beta1/namespaces/" + ns + "/pods").DoRaw(ctx)
			if err == nil {
				err = b.add("metrics/"+ns+".json", data)
			}
			if err := told("metrics", err); err != nil {
				return err
			}
		}
		if names, _ := req.Parameters.Get("metrics").([]string); len(names) > 0 {
			missing = append(missing, "metrics "+strings.Join(names, ", ")+": the cluster keeps none by name")
		}
	}
	if key := "collect_diagnostics." + req.Parameters.String("type"); h.c.commands[key].Args != nil {
		text, err := h.command(ctx, req, key)
		if err := errors.Join(told(key, err), b.add(req.Parameters.String("type")+".txt", []byte(text))); err != nil {
			return err
		}
	}
	if missing != nil {
		if err := b.add("missing.txt", []byte(strings.Join(missing, "\n")+"\n")); err != nil {
			return err
		}
	}
	return errors.Join(b.tar.Close(), packed.Close())
}

// command is what a command of the site has to say.
func (h *diagnostics) command(ctx context.Context, req *actions.Request, key string) (string, error) {
	cmd := h.c.commands[key]
	args, err := arguments(cmd.Args, cmd.Env, req)
	if err != nil {
		return "", err
	}
	p, err := h.c.place(ctx, req)
	if err != nil {
		return "", err
	}
	return h.c.output(ctx, p, args...)
}

// public is an object without what may be secret in it.
func public(o runtime.Object) any {
	m, err := objectOf(o.DeepCopyObject(), nil)
	if err != nil {
		return nil
	}
	if known, _, err := scheme.Scheme.ObjectKinds(o); err == nil && len(known) > 0 { // a client takes it off
		m["apiVersion"], m["kind"] = known[0].ToAPIVersionAndKind()
	}
	if metadata, ok := m["metadata"].(map[string]any); ok {
		delete(metadata, "managedFields")
		if annotations, ok := metadata["annotations"].(map[string]any); ok {
			delete(annotations, corev1.LastAppliedConfigAnnotation)
		}
	}
	hideEnv(map[string]any(m))
	return m
}

// hideEnv takes the values of environment variables out, wherever they are.
func hideEnv(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if list, ok := inner.([]any); ok && k == "env" {
				for _, one := range list {
					if m, ok := one.(map[string]any); ok && m["value"] != nil {
						m["value"] = "(hidden)"
					}
				}
				continue
			}
			hideEnv(inner)
		}
	case []any:
		for _, inner := range v {
			hideEnv(inner)
		}
	}
}

// events are those of a task's namespaces about some objects, or of all when there are none, oldest first.
func (c *Cluster) events(ctx context.Context, t *actions.Task, objects []runtime.Object, since time.Time) ([]eventsv1.Event, error) {
	about := map[string]bool{}
	for _, o := range objects {
		if m, err := meta.Accessor(o); err == nil {
			about[m.GetNamespace()+"/"+m.GetName()] = true
		}
	}
	found := []eventsv1.Event{}
	for _, ns := range namespaces(t) {
		all, err := c.client.EventsV1().Events(ns).List(ctx, metav1.ListOptions{})
		if err != nil {
			return found, explain(err, "list", "events", schema.Target{Kind: "events", Namespace: ns})
		}
		for _, e := range all.Items {
			if (len(about) == 0 || about[e.Regarding.Namespace+"/"+e.Regarding.Name]) && when(&e).After(since) {
				e.ManagedFields = nil
				found = append(found, e)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b eventsv1.Event) int { return when(&a).Compare(when(&b)) })
	return found, nil
}

// when an event was last seen.
func when(e *eventsv1.Event) time.Time {
	at := e.CreationTimestamp.Time
	if e.DeprecatedLastTimestamp.After(at) {
		at = e.DeprecatedLastTimestamp.Time
	}
	if e.Series != nil && e.Series.LastObservedTime.After(at) {
		at = e.Series.LastObservedTime.Time
	}
	return at
}

// logs are the last of what a container has said.
func (c *Cluster) logs(ctx context.Context, p *corev1.Pod, container string, since time.Time) ([]byte, error) {
	most, from := int64(maxLogs), metav1.NewTime(since)
	r, err := c.client.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: container, SinceTime: &from, LimitBytes: &most, Timestamps: true}).Stream(ctx)
	if err != nil {
		return nil, explain(err, "get", "pods/log", schema.Target{Kind: "Pod", Namespace: p.Namespace, Name: p.Name})
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxLogs))
}

// auditLogs gathers events and logs in the order in which they happened.
type auditLogs struct{ c *Cluster }

func (h *auditLogs) rights(t *actions.Task) []Right {
	return slices.Concat(podRights(t), inPods(t, "get", "pods/log"), eventRights(t))
}

// An entry is a line of an audit.
type entry struct {
	Time   string `json:"time"`
	Source string `json:"source"`
	Text   string `json:"text"`
}

func (h *auditLogs) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if err := h.c.stored(); err != nil {
		return nil, err
	}
	objects, pods, err := h.c.subject(ctx, req)
	if err != nil {
		return nil, err
	}
	since := time.Now().Add(-req.Parameters.Duration("timeRange"))
	for _, p := range pods {
		objects = append(objects, p)
	}
	if req.Target.Kind == "Namespace" {
		objects = nil
	}
	events, err := h.c.events(ctx, req.Task, objects, since)
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, e := range events {
		all = append(all, entry{when(&e).UTC().Format(time.RFC3339Nano), "event " + e.Regarding.Kind + " " + e.Regarding.Name, e.Reason + ": " + e.Note})
	}
	for _, p := range pods {
		for _, one := range p.Spec.Containers {
			text, err := h.c.logs(ctx, p, one.Name, since)
			if err != nil {
				all = append(all, entry{time.Now().UTC().Format(time.RFC3339Nano), "log " + p.Name + "/" + one.Name, "cannot be read: " + err.Error()})
				continue
			}
			for line := range strings.Lines(string(text)) {
				at, said, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
				all = append(all, entry{at, "log " + p.Name + "/" + one.Name, said})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Compare(a.Time, b.Time) })
	var out strings.Builder
	if req.Parameters.String("outputFormat") == "text" {
		for _, e := range all {
			fmt.Fprintf(&out, "%s %s: %s\n", e.Time, e.Source, e.Text)
		}
		fmt.Fprintf(&out, "%d entries since %s\n", len(all), since.UTC().Format(time.RFC3339))
	} else if err := json.NewEncoder(&out).Encode(map[string]any{"since": since.UTC(), "entries": all}); err != nil {
		return nil, err
	}
	a, err := h.c.keep(ctx, req, req.Artifact, io.NopCloser(strings.NewReader(out.String())))
	if err != nil {
		return nil, err
	}
	return leaving(a), nil
}
