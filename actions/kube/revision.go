package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// histories are Deployments with the templates of their revisions.
type histories struct{ workloads }

// revisionsPath is where an object has its earlier templates, by revision.
var revisionsPath = []string{"revisions"}

func (histories) get(ctx context.Context, c *Cluster, t schema.Target) (object, error) {
	d, err := c.client.AppsV1().Deployments(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
	o, err := objectOf(d, err)
	if err != nil {
		return nil, err
	}
	sets, err := c.client.AppsV1().ReplicaSets(t.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
	if err != nil {
		return nil, err
	}
	revisions := map[string]any{}
	for i := range sets.Items {
		set := &sets.Items[i]
		if !metav1.IsControlledBy(set, d) {
			continue
		}
		delete(set.Spec.Template.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
		s, err := objectOf(set, nil)
		if err != nil {
			return nil, err
		}
		revisions[set.Annotations[revision]] = s.at("spec", "template")
	}
	return with(o, revisionsPath, revisions), nil
}

func (histories) patch(ctx context.Context, c *Cluster, t schema.Target, live object, fields []field, o metav1.PatchOptions) (object, error) {
	// Whole parts are replaced, where a strategic patch would merge lists.
	data, err := patchOf(live, fields)
	if err != nil {
		return nil, err
	}
	d, err := c.client.AppsV1().Deployments(t.Namespace).Patch(ctx, t.Name, types.MergePatchType, data, o)
	return objectOf(d, err)
}

// goBack gives a Deployment the template of a revision.
type goBack struct{}

var templatePath = []string{"spec", "template"}

func (v goBack) want(req *actions.Request, live object) []field {
	number, err := v.revision(req, live)
	if err != nil {
		return nil
	}
	return []field{{templatePath, live.at("revisions", number)}}
}

// revision is the number of the revision to go back to.
func (goBack) revision(req *actions.Request, live object) (string, error) {
	all, _ := live.at(revisionsPath...).(map[string]any)
	current, _ := live.at("metadata", "annotations", revision).(string)
	now, err := strconv.ParseInt(current, 10, 64)
	if err != nil {
		return "", actions.Permanent(fmt.Errorf("%s has no revision yet: its controller has not seen it", req.Target))
	}
	if n := req.Parameters.Int("revision"); n > 0 {
		number := strconv.FormatInt(n, 10)
		if all[number] == nil {
			return "", actions.Permanent(fmt.Errorf("%s has no revision %s: there are %v", req.Target, number, slices.Sorted(maps.Keys(all))))
		}
		return number, nil
	}
	var previous int64
	for number := range all {
		if n, err := strconv.ParseInt(number, 10, 64); err == nil && n < now {
			previous = max(previous, n)
		}
	}
	if previous == 0 {
		return "", actions.Permanent(fmt.Errorf("%s has no revision before %d to go back to", req.Target, now))
	}
	return strconv.FormatInt(previous, 10), nil
}

func (v goBack) check(_ context.Context, _ *Cluster, req *actions.Request, live object) error {
	if err := restartable(req.Target, live); err != nil {
		return err
	}
	_, err := v.revision(req, live)
	return err
}

func (goBack) rights(t *actions.Task) []Right {
	return append(rolloutRights(t), rightsTo("list", "apps", "replicasets", t.Target.Namespace, "")...)
}

// seals: variables of the templates may hold secrets.
func (goBack) seals() {}

func (goBack) waits(req *actions.Request) bool { return req.Parameters.Bool("waitForReady") }

func (v goBack) settle(ctx context.Context, c *Cluster, req *actions.Request, live object) (string, error) {
	if !v.waits(req) {
		return "the template is set; its pods were not waited for", nil
	}
	return c.rolledOut(ctx, rollout{target: req.Target, written: live, stableFor: req.Parameters.Duration("stableFor")})
}
