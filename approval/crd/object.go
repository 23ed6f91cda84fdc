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

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/internal/wording"
)

// runLabel selects the objects of a run.
const runLabel = "remedykit.dev/run"

// mostWords is how many characters a text in the status may have before what must be made visible is.
const mostWords = 400

// objectName is that of what is asked under a policy: the same after a restart, and another where anything differs.
func objectName(key, digest, guard string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", key, digest, guard))
	return "approval-" + hex.EncodeToString(sum[:10])
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
	if req.Receipt != "" && req.Receipt != name {
		err := c.write(ctx, req.Receipt, map[string]any{"state": approval.Withdrawn.String(), "needs": nil, "reason": "the admission policy was changed: it is asked anew as " + name})
		if err != nil {
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

// object shows a request.
func object(req *approval.Request, name, guard string) (*unstructured.Unstructured, error) {
	b := req.Brief(approval.Standing{}, req.AskedAt)
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
	labels := map[string]string{"app.kubernetes.io/managed-by": "remedy"}
	if len(validation.IsValidLabelValue(req.Run)) == 0 {
		labels[runLabel] = req.Run
	}
	o.SetLabels(labels)
	var own map[string]any
	err = json.Unmarshal(plain, &own)
	o.Object["spec"] = own
	return o, err
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
