package kube

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/artifact"
)

// backup copies files, a database or a volume.
type backup struct{ c *Cluster }

func (h *backup) BeginsItself() bool { return true }

func (h *backup) rights(t *actions.Task) []Right {
	if t.Target.Kind == "PersistentVolumeClaim" {
		ns := t.Target.Namespace
		return slices.Concat(rightsTo("get", "", "persistentvolumeclaims", ns, t.Target.Name), rightsTo("create get watch", snapshots.Group, snapshots.Resource, ns, ""))
	}
	return placeRights(t)
}

// stored says that there is nowhere to keep an artifact.
func (c *Cluster) stored() error {
	if c.artifacts == nil {
		return actions.Permanent(errors.New("there is nowhere to keep artifacts: kube.Options.Artifacts says where"))
	}
	return nil
}

// source is what is to be copied from a pod.
func (h *backup) source(ctx context.Context, req *actions.Request) (place, []string, error) {
	if d := req.Parameters.String("destination"); d != "" {
		return place{}, nil, actions.Permanent(fmt.Errorf("destination %q: backups go to the runner's own store: leave it out", d))
	}
	if err := h.c.stored(); err != nil {
		return place{}, nil, err
	}
	var args []string
	if req.Target.Kind == "Database" {
		cmd, err := h.c.configured("backup_data")
		if err != nil {
			return place{}, nil, err
		}
		if args, err = arguments(cmd.Args, cmd.Env, req); err != nil {
			return place{}, nil, err
		}
	} else {
		paths, _ := req.Parameters.Get("paths").([]string)
		if len(paths) == 0 {
			return place{}, nil, actions.Permanent(fmt.Errorf("%s: give the paths to copy", req.Target))
		}
		args = []string{"tar", "-C", "/", "-cf", "-", "--"}
		for _, p := range paths {
			args = append(args, strings.TrimLeft(p, "/"))
		}
	}
	p, err := h.c.place(ctx, req)
	return p, args, err
}

func (h *backup) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if req.Target.Kind == "PersistentVolumeClaim" {
		return h.snapshot(ctx, req)
	}
	p, args, err := h.source(ctx, req)
	if err != nil {
		return nil, err
	}
	write := h.files
	if req.Target.Kind == "Database" {
		write = h.c.run
	}
	if err := req.Begin(ctx, &actions.Undo{Summary: "nothing: a copy harms nobody", State: map[string]any{"uid": string(p.pod.UID)}}); err != nil {
		return nil, err
	}
	a, err := h.c.keep(ctx, req, req.Artifact, piped(ctx, func(ctx context.Context, w io.Writer) error { return write(ctx, p, args, w) }))
	if err != nil {
		return nil, err
	}
	return leaving(a), nil
}

// files writes an archive, and has an error when there are links in it and no file: a copy of a link looks like one of what it
// leads to. A folder that is empty is copied as such.
func (h *backup) files(ctx context.Context, p place, args []string, w io.Writer) error {
	archive := h.c.stream(ctx, p, args)
	defer archive.Close()
	passing := io.TeeReader(archive, w)
	some, links := false, false
	for in := tar.NewReader(passing); ; {
		entry, err := in.Next()
		if err != nil { // what is wrong with it is said below, or when it is unpacked
			break
		}
		links = links || entry.Typeflag == tar.TypeSymlink
		some = some || entry.Typeflag != tar.TypeDir && entry.Typeflag != tar.TypeSymlink
	}
	if _, err := io.Copy(io.Discard, passing); err != nil {
		return err
	}
	if links && !some {
		return actions.Permanent(fmt.Errorf("%s has only links there: give the paths that they lead to", p.target()))
	}
	return nil
}

// database copies a database before something else, under a name of its own.
func (h *backup) database(ctx context.Context, req *actions.Request, name string) (*actions.Result, error) {
	p, args, err := h.source(ctx, req)
	if err != nil {
		return nil, err
	}
	a, err := h.c.keep(ctx, req, name, h.c.stream(ctx, p, args))
	if err != nil {
		return nil, err
	}
	return leaving(a), nil
}

// leaving is the result of a step that left one artifact.
func leaving(a actions.Artifact) *actions.Result {
	return &actions.Result{Message: fmt.Sprintf("%s, %d bytes, SHA-256 %s", a.Name, a.Size, a.SHA256), Artifacts: []actions.Artifact{a}}
}

// keep stores a stream, and reads it back to be sure. What the store says of the sum is not believed.
func (c *Cluster) keep(ctx context.Context, req *actions.Request, name string, content io.ReadCloser) (actions.Artifact, error) {
	written := sha256.New()
	source := &notEmpty{content: content, name: name}
	a, err := c.artifacts.Put(ctx, req.Run, name, io.TeeReader(source, written))
	_ = content.Close()
	if err != nil {
		return a, err
	}
	a.SHA256 = hex.EncodeToString(written.Sum(nil))
	got, err := c.readBack(ctx, req, name)
	switch {
	case !source.ended:
		err = actions.Permanent(fmt.Errorf("artifact %s was not written to its end: the store has to read until io.EOF", name))
	case err != nil:
		err = fmt.Errorf("artifact %s cannot be read back: %w", name, err)
	case got != a.SHA256:
		err = actions.Permanent(fmt.Errorf("artifact %s was written with SHA-256 %s and reads back as %s", name, a.SHA256, got))
	default:
		return a, nil
	}
	return a, c.spoil(ctx, req, name, err)
}

// readBack is the SHA-256 of what is stored.
func (c *Cluster) readBack(ctx context.Context, req *actions.Request, name string) (string, error) {
	stored, err := c.artifacts.Open(ctx, req.Run, name)
	if err != nil {
		return "", err
	}
	defer stored.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, stored)
	return hex.EncodeToString(sum.Sum(nil)), err
}

// spoiled is how what stands in the place of a wrong copy begins.
const spoiled = "This is not a copy of anything: "

// spoil puts a word in the place of a copy that is wrong, so that nobody takes it for a good one: a store removes nothing.
func (c *Cluster) spoil(ctx context.Context, req *actions.Request, name string, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTime)
	defer cancel()
	if _, err := c.artifacts.Put(ctx, req.Run, name, strings.NewReader(spoiled+why.Error()+"\n")); err != nil {
		return errors.Join(why, fmt.Errorf("artifact %s of run %s is still there, and wrong: remove it: %w", name, req.Run, err))
	}
	return why
}

// notEmpty has an error where content ends before it began, so that nothing is kept.
type notEmpty struct {
	content io.Reader
	name    string
	some    bool
	ended   bool
}

func (n *notEmpty) Read(p []byte) (int, error) {
	got, err := n.content.Read(p)
	n.ended = err == io.EOF
	if n.some = n.some || got > 0; err == io.EOF && !n.some {
		err = actions.Permanent(fmt.Errorf("artifact %s is empty", n.name))
	}
	return got, err
}

// DryRun says what would be copied.
func (h *backup) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	if req.Target.Kind == "PersistentVolumeClaim" {
		o := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: h.c.fieldManager}
		if err := h.claimed(ctx, req); err != nil {
			return nil, err
		}
		if _, err := h.make(ctx, req, o); err != nil {
			return nil, err
		}
		return &actions.Preview{Verdict: actions.Verified, Change: []string{"take a snapshot of " + req.Target.String()}}, nil
	}
	p, args, err := h.source(ctx, req)
	if err != nil {
		return nil, err
	}
	return &actions.Preview{Change: []string{"keep what " + h.c.quoted(args) + " writes in " + p.target().String() + " as " + req.Artifact}}, nil
}

// Probe tells whether the copy is there: it is kept whole or not at all.
func (h *backup) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	if req.Target.Kind == "PersistentVolumeClaim" {
		_, err := h.c.dynamic.Resource(snapshots).Namespace(req.Target.Namespace).Get(ctx, stepName(req), metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return actions.OutcomeUnknown, explain(err, "get", snapshots.Resource, req.Target)
		}
		return actions.OutcomeDidNotHappen, nil // a second try goes on with the snapshot that is there
	}
	if err := h.c.stored(); err != nil {
		return actions.OutcomeUnknown, err
	}
	r, err := h.c.artifacts.Open(ctx, req.Run, req.Artifact)
	switch {
	case errors.Is(err, artifact.ErrNotFound):
		return actions.OutcomeDidNotHappen, nil
	case err != nil:
		return actions.OutcomeUnknown, err
	}
	defer r.Close()
	start := make([]byte, len(spoiled))
	if n, err := io.ReadFull(r, start); err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return actions.OutcomeUnknown, err
	} else if string(start[:n]) == spoiled {
		return actions.OutcomeDidNotHappen, nil
	}
	return actions.OutcomeHappened, nil
}

var snapshots = schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshots"}

// stepName is a name of a step's own in the cluster and in its pods.
func stepName(req *actions.Request) string {
	sum := sha256.Sum256([]byte(req.Key()))
	return "remedy-" + hex.EncodeToString(sum[:10])
}

// claimed is nil when the claim that is copied is there.
func (h *backup) claimed(ctx context.Context, req *actions.Request) error {
	t := req.Target
	return patiently(ctx, func() error {
		_, err := h.c.client.CoreV1().PersistentVolumeClaims(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		return explain(err, "get", "persistentvolumeclaims", t)
	})
}

// make makes the snapshot, or finds the one that an attempt before made.
func (h *backup) make(ctx context.Context, req *actions.Request, o metav1.CreateOptions) (*unstructured.Unstructured, error) {
	t := req.Target
	all := h.c.dynamic.Resource(snapshots).Namespace(t.Namespace)
	s, err := all.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": snapshots.GroupVersion().String(), "kind": "VolumeSnapshot",
		"metadata": map[string]any{"name": stepName(req), "labels": map[string]any{"app.kubernetes.io/managed-by": "remedy"},
			"annotations": map[string]any{"remedy/step": req.Key(), "remedy/retention-days": strconv.FormatInt(req.Parameters.Int("retentionDays"), 10)}},
		"spec": map[string]any{"source": map[string]any{"persistentVolumeClaimName": t.Name}},
	}}, o)
	if apierrors.IsAlreadyExists(err) {
		s, err = all.Get(ctx, stepName(req), metav1.GetOptions{})
	}
	if apierrors.IsNotFound(err) {
		return nil, actions.Permanent(fmt.Errorf("the cluster has no VolumeSnapshots (%s): install a snapshot controller, or back up paths: %w", snapshots.GroupVersion(), err))
	}
	return s, explain(err, "create", snapshots.Resource, t)
}

// snapshot takes a VolumeSnapshot and waits until it can be used.
func (h *backup) snapshot(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if err := h.claimed(ctx, req); err != nil {
		return nil, err
	}
	if err := req.Begin(ctx, &actions.Undo{Summary: "nothing: a snapshot harms nobody", State: map[string]any{}}); err != nil {
		return nil, err
	}
	var s *unstructured.Unstructured
	err := patiently(ctx, func() (err error) {
		s, err = h.make(ctx, req, metav1.CreateOptions{FieldManager: h.c.fieldManager})
		return err
	})
	if err != nil {
		return nil, err
	}
	err = patiently(ctx, func() error { return h.ready(ctx, req, s.GetName()) })
	if err != nil {
		return nil, err
	}
	a := actions.Artifact{Name: req.Artifact, URI: "k8s:///" + snapshots.Group + "/volumesnapshots/" + s.GetNamespace() + "/" + s.GetName()}
	return &actions.Result{Message: "the snapshot " + s.GetName() + " is ready", Artifacts: []actions.Artifact{a}}, nil
}

func (h *backup) ready(ctx context.Context, req *actions.Request, name string) error {
	w, err := h.c.dynamic.Resource(snapshots).Namespace(req.Target.Namespace).Watch(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()})
	if err != nil {
		return explain(err, "watch", snapshots.Resource, req.Target)
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the snapshot %s of %s is not ready: %w", name, req.Target, context.Cause(ctx))
		case e, ok := <-w.ResultChan():
			s, isObject := e.Object.(*unstructured.Unstructured)
			if !ok || !isObject {
				return actions.Transient(fmt.Errorf("the watch of snapshot %s ended", name))
			}
			if text, _, _ := unstructured.NestedString(s.Object, "status", "error", "message"); text != "" {
				return actions.Permanent(fmt.Errorf("the snapshot %s of %s failed: %s", name, req.Target, cut(text, maxStderr)))
			}
			if ready, _, _ := unstructured.NestedBool(s.Object, "status", "readyToUse"); ready {
				return nil
			}
		}
	}
}
