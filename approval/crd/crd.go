package crd

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/internal/kubefault"
	"github.com/remedykit/remedy/internal/patience"
)

//go:embed manifests.yaml
var manifests string

// Manifests are what a cluster needs, for kubectl apply: the definition of ApprovalRequest, the admission policy with its
// binding, and roles for the runner and for people who decide.
func Manifests() string { return manifests }

var resource = schema.GroupVersionResource{Group: "remedykit.dev", Version: "v1alpha1", Resource: "approvalrequests"}

// Options of a Channel.
type Options struct {
	// Namespace is where the objects are. Required.
	Namespace string
	// FieldManager names who writes. Defaults to "remedy".
	FieldManager string
	// Identity says who a user of the cluster is to the run's policy, to other channels, and as the author of a plan, so that
	// nobody counts as two people. "" is nobody, whose votes do not count. It must be safe for concurrent use. Defaults to the user's name.
	Identity func(user string) string
	// Report is told what goes wrong while votes are taken, and is tried again: the watch, or handing a vote in. It must be
	// quick. Defaults to telling nobody.
	Report func(error)
}

// A Channel asks with objects. It is safe for concurrent use.
type Channel struct {
	namespace string
	manager   string
	identity  func(user string) string
	report    func(error)
	client    kubernetes.Interface
	objects   dynamic.ResourceInterface
	policy    admissionv1.ValidatingAdmissionPolicySpec // as it is shipped
}

var (
	_ approval.Approver = (*Channel)(nil)
	_ approval.Updater  = (*Channel)(nil)
)

// New returns a Channel. It does not speak to the cluster yet. config is copied; where it bounds no requests, 50 a second may be
// sent, and 100 at once.
func New(config *rest.Config, o Options) (*Channel, error) {
	switch {
	case config == nil:
		return nil, errors.New("crd: the rest.Config is nil: use rest.InClusterConfig or clientcmd")
	case o.Namespace == "":
		return nil, errors.New("crd: Options.Namespace is empty: say where the ApprovalRequests are to be")
	}
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = cmp.Or(config.QPS, 50), cmp.Or(config.Burst, 100)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("crd: %w", err)
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("crd: %w", err)
	}
	c := &Channel{
		namespace: o.Namespace, manager: cmp.Or(o.FieldManager, "remedy"), identity: o.Identity, report: o.Report,
		client: client, objects: objects.Resource(resource).Namespace(o.Namespace),
	}
	if c.identity == nil {
		c.identity = func(user string) string { return user }
	}
	if c.report == nil {
		c.report = func(error) {}
	}
	for part := range strings.SplitSeq(manifests, "\n---\n") {
		var p admissionv1.ValidatingAdmissionPolicy
		if err := yaml.Unmarshal([]byte(part), &p); err == nil && p.Kind == "ValidatingAdmissionPolicy" {
			c.policy = p.Spec
		}
	}
	return c, nil
}

// explain says what to do about an error of the API server.
func explain(err error) error {
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%w: is the namespace there, and were the Manifests applied?", err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: bind the ClusterRole remedy-approval-requester to the runner's account", err)
	}
	return err
}

// patiently asks again while the API server does not answer and ctx goes on.
func patiently(ctx context.Context, f func() error) error {
	return patience.Try(ctx, func() error {
		err := f()
		if kubefault.Passes(err) {
			return actions.Transient(err)
		}
		return err
	})
}
