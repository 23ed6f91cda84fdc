package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/sealed"
	"github.com/remedykit/remedy/schema"
)

// sealedIn begins the reference to a Secret of the cluster.
const sealedIn = "secret:"

// seal keeps what may be secret where only the rollback finds it, and returns a state that refers to it. Without a Store of the
// site's that is a Secret beside the object, owned by it, so that it goes when the object does.
func (c *Cluster) seal(ctx context.Context, req *actions.Request, live object, state map[string]any) (map[string]any, error) {
	data, err := json.Marshal(state)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	reference := map[string]any{"uid": live.uid(), "sha256": hex.EncodeToString(sum[:]), "at": time.Now().UTC().Format(time.RFC3339)}
	if c.sealed != nil {
		reference["sealed"] = req.Key()
		return reference, c.sealed.Seal(ctx, req.Key(), data)
	}
	name := sealName(req)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: req.Target.Namespace,
			Labels:      map[string]string{"app.kubernetes.io/managed-by": "remedy"},
			Annotations: map[string]string{"remedy/step": req.Key(), "remedy/of": req.Target.String()},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: kinds[req.Target.Kind], Kind: req.Target.Kind, Name: req.Target.Name,
				UID: types.UID(live.uid())}}},
		Data: map[string][]byte{"state": data},
	}
	t := schema.Target{Kind: "Secret", Namespace: req.Target.Namespace, Name: name}
	err = patiently(ctx, func() error {
		secrets := c.client.CoreV1().Secrets(req.Target.Namespace)
		_, err := secrets.Create(ctx, secret, metav1.CreateOptions{FieldManager: c.fieldManager})
		if apierrors.IsAlreadyExists(err) { // an attempt before this one kept it
			_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: c.fieldManager})
		}
		return explain(err, "create", "secrets", t)
	})
	reference["sealed"] = sealedIn + req.Target.Namespace + "/" + name
	return reference, err
}

func sealName(req *actions.Request) string {
	key := sha256.Sum256([]byte(req.Key()))
	return "remedy-undo-" + hex.EncodeToString(key[:10])
}

// sealedBefore is the state that an attempt of a step sealed; nil when none did.
func (c *Cluster) sealedBefore(ctx context.Context, req *actions.Request) (plain map[string]any, err error) {
	reference := sealedIn + req.Target.Namespace + "/" + sealName(req)
	if c.sealed != nil {
		reference = req.Key()
	}
	data, err := c.opened(ctx, reference)
	if apierrors.IsNotFound(err) || errors.Is(err, sealed.ErrNotFound) {
		return nil, nil
	}
	if err == nil && json.Unmarshal(data, &plain) != nil {
		err = actions.Permanent(fmt.Errorf("what was sealed as %s cannot be read", reference))
	}
	return plain, err
}

// unseal is the state that seal was given.
func (c *Cluster) unseal(ctx context.Context, state map[string]any) (map[string]any, error) {
	reference, ok := state["sealed"].(string)
	if !ok {
		return state, nil
	}
	data, err := c.opened(ctx, reference)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != state["sha256"] {
		return nil, actions.Permanent(fmt.Errorf("what was sealed as %s is not what the journal knows: somebody changed it", reference))
	}
	var plain map[string]any
	if err := json.Unmarshal(data, &plain); err != nil {
		return nil, actions.Permanent(fmt.Errorf("what was sealed as %s cannot be read", reference))
	}
	return plain, nil
}

func (c *Cluster) opened(ctx context.Context, reference string) (data []byte, err error) {
	where, inCluster := strings.CutPrefix(reference, sealedIn)
	if !inCluster {
		if c.sealed == nil {
			return nil, actions.Permanent(fmt.Errorf("the former state is sealed as %s: give the Cluster the Store that it was sealed with", reference))
		}
		data, err = c.sealed.Open(ctx, reference)
		return data, actions.Permanent(err)
	}
	namespace, name, _ := strings.Cut(where, "/")
	err = patiently(ctx, func() error {
		secret, err := c.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			data = secret.Data["state"]
		}
		return explain(err, "get", "secrets", schema.Target{Kind: "Secret", Namespace: namespace, Name: name})
	})
	return data, err
}

// sealRights are the rights to seal and unseal beside an object; a Store of the site's needs none.
func (c *Cluster) sealRights(namespace string) []Right {
	if c.sealed != nil {
		return nil
	}
	return rightsTo("create update get", "", "secrets", namespace, "")
}
