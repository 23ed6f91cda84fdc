package crd

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/internal/wording"
)

// The labels that select the objects of a run, and those of a request.
const (
	runLabel     = "remedykit.dev/run"
	requestLabel = "remedykit.dev/request"
)

// mostWords is how many characters a text in the status may have before what must be made visible is.
const mostWords = 400

// objectName is that of what is asked under a policy: the same after a restart, and another where anything differs.
func objectName(key, digest, guard string) string { return "approval-" + digestOf(key, digest, guard) }

func digestOf(parts ...string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", parts))
	return hex.EncodeToString(sum[:10])
}

// Approve makes the object of a request, unless it is there, and answers Pending.
func (c *Channel) Approve(ctx context.Context, req *approval.Request) (*approval.Decision, error) {
	if req == nil || req.Plan == nil || req.Key == "" {
		return nil, errors.New("crd: the request has no plan to show, or no key")
	}
	guard, err := c.trusted(ctx)
	if err != nil {
		return nil, err
	}
	name := objectName(req.Key, req.Digest, guard)
	if req.Receipt != name {
		if err := c.supersede(ctx, req.Key, name); err != nil {
			return nil, err
		}
	}
	o, err := object(req, name, guard)
	if err != nil {
		return nil, fmt.Errorf("crd: %w", err)
	}
	_, err = c.objects.Create(ctx, o, metav1.CreateOptions{FieldManager: c.manager, FieldValidation: metav1.FieldValidationStrict})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("crd: ApprovalRequest %s/%s: %w", c.namespace, name, explain(err))
	}
	return &approval.Decision{Verdict: approval.Pending, Receipt: name}, nil
}

// supersede closes the objects of a request that were made under another policy.
func (c *Channel) supersede(ctx context.Context, key, name string) error {
	list, err := c.objects.List(ctx, metav1.ListOptions{LabelSelector: requestLabel + "=" + digestOf(key), FieldSelector: notClosed})
	if err != nil {
		return fmt.Errorf("crd: ApprovalRequests in namespace %s: %w", c.namespace, explain(err))
	}
	for i := range list.Items {
		if old := list.Items[i].GetName(); old != name {
			why := "it is asked anew as " + name + ", as the question or the admission policy has changed"
			if err := c.write(ctx, old, map[string]any{"state": approval.Withdrawn.String(), "needs": nil, "reason": why}); err != nil {
				return err
			}
		}
	}
	return nil
}

// object shows a request.
func object(req *approval.Request, name, guard string) (*unstructured.Unstructured, error) {
	b := req.Brief(approval.Standing{}, req.AskedAt)
	fit(b)
	facts := make([]any, len(b.Facts))
	for i, f := range b.Facts {
		facts[i] = map[string]any{"label": f.Label, "lines": f.Lines, "quoted": f.Quoted}
	}
	spec := map[string]any{
		"run": req.Run, "key": req.Key, "digest": req.Digest, "guard": guard, "subject": b.Subject, "heading": b.Heading, "drawing": b.Drawing, "facts": facts,
		"onYes": b.Yes, "onNo": b.No, "onSilence": b.Silence, "askedAt": req.AskedAt.UTC().Format(time.RFC3339),
	}
	if req.Step != nil {
		spec["step"] = req.Step.ID()
	}
	if !req.ExpiresAt.IsZero() {
		spec["expiresAt"] = req.ExpiresAt.UTC().Format(time.RFC3339)
	}
	plain, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": resource.GroupVersion().String(), "kind": "ApprovalRequest"}}
	o.SetName(name)
	labels := map[string]string{"app.kubernetes.io/managed-by": "remedy", requestLabel: digestOf(req.Key)}
	if len(validation.IsValidLabelValue(req.Run)) == 0 {
		labels[runLabel] = req.Run
	}
	o.SetLabels(labels)
	var own map[string]any
	err = json.Unmarshal(plain, &own)
	o.Object["spec"] = own
	return o, err
}

// What an object may hold, in bytes and lines, where the definition and the API server allow a little more.
const (
	mostFacts     = 384 << 10
	mostFactLines = 400 // of one fact, and facts
	mostDrawing   = 128 << 10
	mostDrawnLine = 2000
)

// fit cuts a brief to what an object may hold, and says how much it leaves out.
func fit(b *approval.Brief) {
	drawn := 0
	for _, line := range b.Drawing {
		if drawn += len(line); drawn > mostDrawing || utf8.RuneCountInString(line) > mostDrawnLine {
			b.Drawing = nil
			break
		}
	}
	left := mostFacts
	for i := range b.Facts {
		lines := b.Facts[i].Lines
		for k, line := range lines {
			if left -= len(line); left < 0 || k == mostFactLines {
				b.Facts[i].Lines = append(lines[:k:k], fmt.Sprintf("… and %d more lines, which do not fit: read the plan itself before you approve this", len(lines)-k))
				break
			}
		}
	}
	if more := len(b.Facts) - mostFactLines; more > 0 {
		b.Facts = append(b.Facts[:mostFactLines], approval.Fact{Label: "More", Lines: []string{fmt.Sprintf("… and %d more facts, which do not fit", more)}})
	}
}

// Update writes into the object's status what became of the request. An object that somebody deleted stays deleted.
func (c *Channel) Update(ctx context.Context, req *approval.Request, s approval.Standing) error {
	name := req.Receipt
	if name == "" { // the object may have been made all the same
		guard, err := c.trusted(ctx)
		if err != nil {
			return err
		}
		name = objectName(req.Key, req.Digest, guard)
	}
	status := map[string]any{"state": s.State.String()}
	for field, text := range map[string]string{"needs": s.Missing, "by": s.By, "reason": s.Reason} {
		status[field] = nil // merge patch: none
		if text != "" {
			status[field] = words(text)
		}
	}
	return c.write(ctx, name, status)
}

// words fit into the status.
func words(s string) string { return wording.Visible(wording.Cut(s, mostWords)) }

// write merges into the status of an object, if it is there.
func (c *Channel) write(ctx context.Context, object string, status map[string]any) error {
	data, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	_, err = c.objects.Patch(ctx, object, types.MergePatchType, data, metav1.PatchOptions{FieldManager: c.manager}, "status")
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("crd: ApprovalRequest %s/%s: %w", c.namespace, object, explain(err))
	}
	return nil
}

// A vote is what somebody wrote into an object.
type vote struct {
	Verdict string   `json:"verdict"`
	Reason  string   `json:"reason,omitempty"`
	Digest  string   `json:"digest,omitempty"`
	Groups  []string `json:"groups,omitempty"`
}

// request is an object, as far as votes need it.
type request struct {
	Metadata struct {
		Name string    `json:"name"`
		UID  types.UID `json:"uid"`
	} `json:"metadata"`
	Spec struct {
		Run    string `json:"run"`
		Step   string `json:"step"`
		Key    string `json:"key"`
		Digest string `json:"digest"`
		Guard  string `json:"guard"`
	} `json:"spec"`
	Status struct {
		State   string            `json:"state"`
		Votes   map[string]vote   `json:"votes"`
		Answers map[string]string `json:"answers"`
	} `json:"status"`
}

// open tells whether a request waits for votes.
func (r *request) open() bool {
	return cmp.Or(r.Status.State, approval.Open.String()) == approval.Open.String()
}
