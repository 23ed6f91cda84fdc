package kube

import (
	"archive/tar"
	"bufio"
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
	"github.com/remedykit/remedy/internal/wording"
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
		all = append(all, execRights(t)...)
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

// A subject is what a step is about.
type subject struct {
	objects []runtime.Object // workloads and pods
	pods    []*corev1.Pod
	left    int  // pods that are too many
	whole   bool // all that is in the namespaces
}

// subject are the pods that a step is about, and their workload; of a whole namespace all pods and workloads.
func (c *Cluster) subject(ctx context.Context, req *actions.Request) (s subject, err error) {
	err = patiently(ctx, func() (err error) {
		s, err = c.lookAt(ctx, req)
		return err
	})
	slices.SortFunc(s.pods, func(a, b *corev1.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	if len(s.pods) > maxPods {
		s.pods, s.left = s.pods[:maxPods], len(s.pods)-maxPods
	}
	for _, p := range s.pods {
		s.objects = append(s.objects, p)
	}
	return s, err
}

func (c *Cluster) lookAt(ctx context.Context, req *actions.Request) (s subject, err error) {
	if k := req.Target.Kind; k != "Namespace" && k != "" {
		of, pods, err := c.podsOf(ctx, req)
		if of != nil {
			s.objects = append(s.objects, of)
		}
		s.pods = pods
		return s, err
	}
	s.whole = true
	for _, ns := range namespaces(req.Task) {
		pods, err := c.pods(ctx, ns, labels.Everything())
		if err != nil {
			return s, err
		}
		all, err := c.all(ctx, ns)
		if err != nil {
			return s, err
		}
		s.pods = append(s.pods, pods...)
		for _, w := range all {
			s.objects = append(s.objects, w.object.(runtime.Object))
		}
	}
	return s, nil
}

// tooMany says how many pods are left out.
func (s *subject) tooMany() string {
	return fmt.Sprintf("%d pods: only %d are looked into", s.left, maxPods)
}

func (h *diagnostics) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	if err := h.c.stored(); err != nil {
		return nil, err
	}
	s, err := h.c.subject(ctx, req)
	if err != nil {
		return nil, err
	}
	return &actions.Preview{Verdict: actions.Verified, Change: []string{fmt.Sprintf("keep what there is to know of %d pods as %s", len(s.pods), req.Artifact)}}, nil
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
		return h.c.dump(ctx, req, p)
	}
	s, err := h.c.subject(ctx, req)
	if err != nil {
		return nil, err
	}
	a, err := h.c.keep(ctx, req, req.Artifact, piped(ctx, func(ctx context.Context, w io.Writer) error { return h.bundle(ctx, req, s, w) }))
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
func (h *diagnostics) bundle(ctx context.Context, req *actions.Request, s subject, w io.Writer) error {
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
	if s.left > 0 {
		missing = append(missing, s.tooMany())
	}
	var all []any
	for _, o := range s.objects {
		all = append(all, public(o))
	}
	if err := b.addJSON("objects.json", all); err != nil {
		return err
	}
	since := time.Now().Add(-req.Parameters.Duration("timeRange"))
	if req.Parameters.Bool("includeEvents") {
		events, err := h.c.events(ctx, req.Task, s, since)
		if err := errors.Join(told("events", err), b.addJSON("events.json", events)); err != nil {
			return err
		}
	}
	if req.Parameters.Bool("includeLogs") {
		for _, p := range s.pods {
			for _, one := range p.Spec.Containers {
				text, cut, err := h.c.logs(ctx, p, one.Name, since)
				if cut {
					missing = append(missing, tooLong(p, one.Name))
				}
				if err := errors.Join(told("log of "+p.Name+"/"+one.Name, err), b.add("logs/"+p.Namespace+"/"+p.Name+"/"+one.Name+".log", []byte(text))); err != nil {
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
		text, cut, err := h.command(ctx, req, key)
		if cut {
			missing = append(missing, fmt.Sprintf("%s: only the last %d MiB are kept", key, maxLogs>>20))
		}
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

// command is the last of what a command of the site has to say, whole lines without its secrets, and whether that is not all.
func (h *diagnostics) command(ctx context.Context, req *actions.Request, key string) (text string, cut bool, err error) {
	cmd := h.c.commands[key]
	args, err := arguments(cmd.Args, cmd.Env, req)
	if err != nil {
		return "", false, err
	}
	p, err := h.c.place(ctx, req)
	if err != nil {
		return "", false, err
	}
	out := &tail{most: maxLogs}
	err = h.c.run(ctx, p, args, out)
	if text = out.String(); out.lost {
		_, text, _ = strings.Cut(text, "\n")
	}
	return h.c.secrets.Replace(text), out.lost, err
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

// hideEnv takes the values of environment variables and of HTTP headers out, wherever they are.
func hideEnv(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if list, ok := inner.([]any); ok && (k == "env" || k == "httpHeaders") { // the headers of probes may authenticate
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

// events are those of a task's namespaces about its subject, oldest first.
func (c *Cluster) events(ctx context.Context, t *actions.Task, s subject, since time.Time) ([]eventsv1.Event, error) {
	about := map[string]bool{}
	for _, o := range s.objects {
		m, err := meta.Accessor(o)
		if err != nil {
			return nil, actions.Permanent(err)
		}
		about[m.GetNamespace()+"/"+m.GetName()] = true
		if owner := metav1.GetControllerOf(m); owner != nil && owner.Kind == "ReplicaSet" {
			about[m.GetNamespace()+"/"+owner.Name] = true
		}
	}
	isAbout := func(o *corev1.ObjectReference) bool {
		name := o.Name
		if i := strings.LastIndexByte(name, '-'); o.Kind == "ReplicaSet" && i > 0 && !about[o.Namespace+"/"+name] {
			name = name[:i] // of a deployment without pods its replica sets say why
		}
		return s.whole || about[o.Namespace+"/"+name]
	}
	found := []eventsv1.Event{}
	for _, ns := range namespaces(t) {
		all, err := c.client.EventsV1().Events(ns).List(ctx, metav1.ListOptions{})
		if err != nil {
			return found, explain(err, "list", "events", schema.Target{Kind: "events", Namespace: ns})
		}
		for _, e := range all.Items {
			if isAbout(&e.Regarding) && when(&e).After(since) {
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

// logs are the last of what a container has said, whole lines, and whether that is not all. A limit of the API server's would keep
// the first of it.
func (c *Cluster) logs(ctx context.Context, p *corev1.Pod, container string, since time.Time) (text string, cut bool, err error) {
	from := metav1.NewTime(since)
	r, err := c.client.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: container, SinceTime: &from, Timestamps: true}).Stream(ctx)
	if err != nil {
		return "", false, explain(err, "get", "pods/log", schema.Target{Kind: "Pod", Namespace: p.Namespace, Name: p.Name})
	}
	defer r.Close()
	last := &tail{most: maxLogs}
	_, err = io.Copy(last, r)
	text = last.kept.String()
	if last.lost {
		_, text, _ = strings.Cut(text, "\n")
	}
	return text, last.lost, err
}

func tooLong(p *corev1.Pod, container string) string {
	return fmt.Sprintf("log of %s/%s: only its last %d MiB are kept", p.Name, container, maxLogs>>20)
}

// auditLogs gathers events and logs in the order in which they happened.
type auditLogs struct{ c *Cluster }

func (h *auditLogs) rights(t *actions.Task) []Right {
	return slices.Concat(podRights(t), inPods(t, "get", "pods/log"), eventRights(t))
}

// DryRun says what would be gathered.
func (h *auditLogs) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	return (&diagnostics{h.c}).DryRun(ctx, req)
}

// An entry is a line of an audit.
type entry struct {
	Time   time.Time `json:"time"`
	Source string    `json:"source"`
	Text   string    `json:"text"`
}

func (h *auditLogs) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if err := h.c.stored(); err != nil {
		return nil, err
	}
	s, err := h.c.subject(ctx, req)
	if err != nil {
		return nil, err
	}
	since := time.Now().Add(-req.Parameters.Duration("timeRange"))
	events, err := h.c.events(ctx, req.Task, s, since)
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, e := range events {
		all = append(all, entry{when(&e).UTC(), "event " + e.Regarding.Kind + " " + e.Regarding.Name, e.Reason + ": " + e.Note})
	}
	all, missing, err := h.said(ctx, s, since, all)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b entry) int { return a.Time.Compare(b.Time) })
	write := func(_ context.Context, w io.Writer) error { return auditJSON(w, since, all, missing) }
	if req.Parameters.String("outputFormat") == "text" {
		write = func(_ context.Context, w io.Writer) error { return auditText(w, since, all, missing) }
	}
	a, err := h.c.keep(ctx, req, req.Artifact, piped(ctx, write))
	if err != nil {
		return nil, err
	}
	r := leaving(a)
	if len(missing) > 0 {
		r.Message += "; not all of it could be had: " + cut(strings.Join(missing, "; "), maxNote)
	}
	return r, nil
}

// maxAudit is how much of logs an audit has, in bytes: they are put in order in memory.
const maxAudit = 64 << 20

// said adds what the containers have said, and says what is missing.
func (h *auditLogs) said(ctx context.Context, s subject, since time.Time, all []entry) ([]entry, []string, error) {
	var missing []string
	if s.left > 0 {
		missing = append(missing, s.tooMany())
	}
	left := maxAudit
	for _, p := range s.pods {
		for _, one := range p.Spec.Containers {
			name := p.Name + "/" + one.Name
			if left <= 0 {
				missing = append(missing, fmt.Sprintf("log of %s: the others are %d MiB already", name, maxAudit>>20))
				continue
			}
			text, cut, err := h.c.logs(ctx, p, one.Name, since)
			switch {
			case ctx.Err() != nil:
				return nil, nil, context.Cause(ctx)
			case err != nil:
				missing = append(missing, "log of "+name+": "+err.Error())
			case cut:
				missing = append(missing, tooLong(p, one.Name))
			}
			left -= len(text)
			at := since.UTC()
			for line := range strings.Lines(text) {
				line = strings.TrimRight(line, "\n")
				stamp, words, _ := strings.Cut(line, " ")
				if t, err := time.Parse(time.RFC3339Nano, stamp); err == nil {
					at, line = t.UTC(), words
				}
				all = append(all, entry{at, "log " + name, line})
			}
		}
	}
	return all, missing, nil
}

func auditJSON(w io.Writer, since time.Time, all []entry, missing []string) error {
	if all == nil {
		all = []entry{}
	}
	return json.NewEncoder(w).Encode(struct {
		Since   time.Time `json:"since"`
		Entries []entry   `json:"entries"`
		Missing []string  `json:"missing,omitempty"`
	}{since.UTC(), all, missing})
}

// auditText writes a line for each entry: what was logged makes no lines of its own, and no terminal obeys it.
func auditText(w io.Writer, since time.Time, all []entry, missing []string) error {
	out := bufio.NewWriter(w)
	for _, e := range all {
		fmt.Fprintf(out, "%s %s: %s\n", e.Time.Format(time.RFC3339Nano), e.Source, wording.Visible(e.Text))
	}
	for _, m := range missing {
		fmt.Fprintf(out, "missing: %s\n", wording.Visible(m))
	}
	fmt.Fprintf(out, "%d entries since %s\n", len(all), since.UTC().Format(time.RFC3339))
	return out.Flush()
}
