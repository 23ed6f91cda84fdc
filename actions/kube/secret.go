package kube

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// secrets are Secrets.
type secrets struct{}

func (secrets) name(schema.Target) (group, resource string) { return "", "secrets" }

func (secrets) hides([]string) (former, latter bool) { return true, true }

func (secrets) get(ctx context.Context, c *Cluster, t schema.Target) (object, error) {
	s, err := c.client.CoreV1().Secrets(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
	return objectOf(s, err)
}

func (secrets) patch(ctx context.Context, c *Cluster, t schema.Target, live object, fields []field, o metav1.PatchOptions) (object, error) {
	data, err := patchOf(live, fields)
	if err != nil {
		return nil, err
	}
	s, err := c.client.CoreV1().Secrets(t.Namespace).Patch(ctx, t.Name, types.MergePatchType, data, o)
	return objectOf(s, err)
}

// rotate gives keys of a secret new values.
type rotate struct{ c *Cluster }

// values are the new ones of a single attempt.
type values struct {
	data   map[string]any
	forget bool
}

func (v values) forgets() bool { return v.forget }

func (v values) want(*actions.Request, object) []field {
	var fields []field
	for _, k := range slices.Sorted(maps.Keys(v.data)) {
		fields = append(fields, field{[]string{"data", k}, v.data[k]})
	}
	return fields
}

// check refuses a secret whose readers could not be restarted.
func (values) check(ctx context.Context, c *Cluster, req *actions.Request, _ object) error {
	_, err := c.restarted(ctx, req)
	return err
}

// restarted are the workloads that are restarted with a secret, which all can be.
func (c *Cluster) restarted(ctx context.Context, req *actions.Request) ([]schema.Target, error) {
	if !req.Parameters.Bool("restartPods") {
		return nil, nil
	}
	readers, err := c.readers(ctx, req.Target)
	if err != nil {
		return nil, err
	}
	for _, t := range readers {
		if err := c.spare(ctx, t); err != nil {
			return nil, err
		}
		live, err := workloads{}.get(ctx, c, t)
		if err != nil {
			return nil, explain(err, "get", "workloads", t)
		}
		if err := restartable(t, live); err != nil {
			return nil, err
		}
	}
	return readers, nil
}

func (values) waits(req *actions.Request) bool { return req.Parameters.Bool("restartPods") }

// settle restarts who reads the secret.
func (values) settle(ctx context.Context, c *Cluster, req *actions.Request, _ object) (string, error) {
	if !req.Parameters.Bool("restartPods") {
		return "the values are new; pods see them once restarted", nil
	}
	readers, err := c.restarted(ctx, req)
	if err != nil {
		return "", err
	}
	if err := c.roll(ctx, readers, req.Key(), 0); err != nil {
		return "", err
	}
	return fmt.Sprintf("the values are new, and %d workloads were restarted with them", len(readers)), nil
}

// edit is the change of one attempt, with values that maker gives the keys.
func (r *rotate) edit(ctx context.Context, req *actions.Request, maker func(live object, key string) ([]byte, error)) (*edit, error) {
	if r.c.generate == nil {
		return nil, actions.Permanent(errors.New("rotate_secrets is not configured: say how new values are made (kube.Options.Generate)"))
	}
	e := &edit{r.c, secrets{}, values{}}
	live, err := e.read(ctx, req)
	if err != nil {
		return nil, err
	}
	switch kind, _ := live.at("type").(string); corev1.SecretType(kind) {
	case corev1.SecretTypeTLS, corev1.SecretTypeServiceAccountToken, corev1.SecretTypeDockerConfigJson, corev1.SecretTypeDockercfg, corev1.SecretTypeBootstrapToken:
		return nil, actions.Permanent(fmt.Errorf("%s is of type %s, whose values others issue: rotate it there", req.Target, kind))
	}
	if live.at("immutable") == true {
		return nil, actions.Permanent(fmt.Errorf("%s is immutable: make a new one and have its readers use that", req.Target))
	}
	data, _ := live.at("data").(map[string]any)
	keys, _ := req.Parameters.Get("keys").([]string)
	if keys == nil {
		keys = slices.Sorted(maps.Keys(data))
	}
	if len(keys) == 0 {
		return nil, actions.Permanent(fmt.Errorf("%s has no keys to rotate", req.Target))
	}
	for _, k := range keys {
		if data[k] == nil {
			return nil, actions.Permanent(fmt.Errorf("%s has no key %q: it has %v", req.Target, k, slices.Sorted(maps.Keys(data))))
		}
	}
	if err := e.check(ctx, req, live); err != nil { // before a value is made that nobody would use
		return nil, err
	}
	made := map[string]any{}
	for _, k := range keys {
		value, err := maker(live, k)
		if err != nil {
			return nil, fmt.Errorf("no new value for key %s of %s: %w", k, req.Target, err)
		}
		made[k] = base64.StdEncoding.EncodeToString(value)
	}
	e.verb = values{made, !req.Parameters.Bool("backupOldSecret")}
	return e, nil
}

func (r *rotate) BeginsItself() bool { return true }

func (r *rotate) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	uid, former, err := r.earlier(ctx, req)
	if err != nil {
		return nil, err
	}
	e, err := r.edit(ctx, req, func(live object, key string) ([]byte, error) {
		if value, ok := former[key].(string); ok && uid == live.uid() {
			return base64.StdEncoding.DecodeString(value)
		}
		return r.c.generate(ctx, req.Target, key)
	})
	if err != nil {
		return nil, err
	}
	return e.Execute(ctx, req)
}

// earlier are the values that an attempt before this one made: others would be sealed in the place of what its undo refers to.
func (r *rotate) earlier(ctx context.Context, req *actions.Request) (uid string, made map[string]any, err error) {
	if req.Attempt < 2 {
		return "", nil, nil
	}
	plain, err := r.c.sealedBefore(ctx, req)
	if err != nil || plain == nil {
		return "", nil, err
	}
	uid, _, after, err := restore(plain)
	made = map[string]any{}
	for _, f := range after {
		made[f.path[len(f.path)-1]] = f.value
	}
	return uid, made, err
}

func (r *rotate) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	e, err := r.edit(ctx, req, func(object, string) ([]byte, error) { // whatever makes values may not be asked for a rehearsal
		return []byte("to be made"), nil
	})
	if err != nil {
		return nil, err
	}
	p, err := e.DryRun(ctx, req)
	if err != nil {
		return nil, err
	}
	readers, err := r.c.restarted(ctx, req)
	if err != nil {
		return nil, err
	}
	for _, t := range readers {
		p.Change = append(p.Change, "restart "+t.String())
	}
	return p, nil
}

// Probe tells whether the secret has the values that were made for it. Only an attempt knows whether its readers have them.
func (r *rotate) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	if req.Begun == nil {
		return actions.OutcomeDidNotHappen, nil
	}
	return (&edit{r.c, secrets{}, values{}}).Probe(ctx, req)
}

// Compensate brings the former values back, and restarts who has read the new ones.
func (r *rotate) Compensate(ctx context.Context, req *actions.Request, undo *actions.Undo) error {
	if undo != nil && !req.Parameters.Bool("backupOldSecret") {
		return actions.Permanent(fmt.Errorf("the former values of %s were not kept (backupOldSecret is false), and cannot come back", req.Target))
	}
	return (&edit{r.c, secrets{}, kept{}}).Compensate(ctx, req, undo)
}

// kept is what an undo settles: Compensate itself restarts who has read the values.
type kept struct{ values }

func (kept) settle(context.Context, *Cluster, *actions.Request, object) (string, error) {
	return "", nil
}

func (r *rotate) Footprint(_ context.Context, req *actions.Request) ([]actions.Touch, error) {
	return []actions.Touch{{Target: req.Target}}, nil
}

func (r *rotate) rights(t *actions.Task) []Right {
	ns := t.Target.Namespace
	all := slices.Concat(rightsTo("get patch", "", "secrets", ns, t.Target.Name), allRights(ns), r.c.sealRights(ns))
	return append(all, r.c.selfRights(ns)...) // its own readers are spared
}
