package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/directclient"
	"github.com/remedykit/remedy/internal/kubefault"
	"github.com/remedykit/remedy/internal/patience"
	"github.com/remedykit/remedy/schema"
)

// explain classes an error of the API server and says what to do.
func explain(err error, verb, resource string, t schema.Target) error {
	where := "in the cluster"
	if t.Namespace != "" {
		where = "in namespace " + t.Namespace
	}
	_, explained := errors.AsType[*actions.HandlerError](err)
	switch {
	case err == nil || explained:
		return err
	case apierrors.IsNotFound(err):
		return actions.Permanent(fmt.Errorf("%s does not exist: %w", t, err))
	case apierrors.IsForbidden(err):
		return actions.Permanent(fmt.Errorf("the runner may not %s %s %s: give its account that right: %w", verb, resource, where, err))
	case apierrors.IsUnauthorized(err):
		return actions.Permanent(fmt.Errorf("the API server does not know the runner: check its credentials: %w", err))
	case directclient.Untrusted(err):
		return actions.Permanent(fmt.Errorf("the API server's certificate is not trusted: give the runner's kubeconfig the authority that issued it: %w", err))
	case kubefault.Passes(err):
		wait, _ := apierrors.SuggestsClientDelay(err)
		return &actions.HandlerError{Transient: true, RetryAfter: time.Duration(wait) * time.Second, Err: fmt.Errorf("%s %s: %w", verb, t, err)}
	}
	return actions.Permanent(fmt.Errorf("%s %s: %w", verb, t, err))
}

// patiently asks again while the error may pass and ctx goes on.
func patiently(ctx context.Context, f func() error) error { return patience.Try(ctx, f) }
