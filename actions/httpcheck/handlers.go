package httpcheck

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/remedykit/remedy/actions"
)

// Handlers are health_check and verify_recovery for steps that name services, for a runner without a cluster. A
// diagnosis that gets no answer is an error: nobody knows whether the service is healthy.
func Handlers(asker Asker) actions.Handlers {
	return actions.Handlers{
		"health_check": actions.HandlerFunc(func(ctx context.Context, req *actions.Request) (*actions.Result, error) {
			return healthCheck(ctx, asker, req)
		}),
		"verify_recovery": actions.HandlerFunc(func(ctx context.Context, req *actions.Request) (*actions.Result, error) {
			return verifyRecovery(ctx, asker, req)
		}),
	}
}

// services are those that a step names, and their namespace.
func services(req *actions.Request) (namespace string, names []string, err error) {
	p := req.Parameters
	names, _ = p.Get("services").([]string)
	if s := p.String("service"); s != "" {
		names = []string{s}
	}
	if len(names) == 0 {
		return "", nil, actions.Permanent(fmt.Errorf("%s: only services can be asked: use the handlers of package kube for workloads and pods", req.Target))
	}
	namespace = p.String("namespace")
	if namespace == "" && len(req.Namespaces) == 1 {
		namespace = req.Namespaces[0]
	}
	if namespace == "" {
		return "", nil, actions.Permanent(fmt.Errorf("%s: give the step a namespace: the plan names %v", req.Target, req.Namespaces))
	}
	return namespace, names, nil
}

func healthCheck(ctx context.Context, asker Asker, req *actions.Request) (*actions.Result, error) {
	namespace, names, err := services(req)
	if err != nil {
		return nil, err
	}
	gate := req.Parameters.Given("endpoint") || req.Parameters.Given("expectedStatus")
	var ill []string
	for _, name := range names {
		err := ask(ctx, asker, namespace, name, req.Parameters.String("endpoint"), int(req.Parameters.Int("expectedStatus")))
		_, known := errors.AsType[unwell](err)
		switch {
		case err == nil:
		case known || gate && actions.IsTransient(err):
			ill = append(ill, err.Error())
		default:
			return nil, fmt.Errorf("service %s/%s could not be asked: %w", namespace, name, err)
		}
	}
	if len(ill) > 0 && gate {
		return nil, actions.Transient(fmt.Errorf("not healthy: %s", strings.Join(ill, "; ")))
	}
	r := &actions.Result{Message: "healthy", Outputs: map[string]any{"healthy": len(ill) == 0}}
	if len(ill) > 0 {
		r.Message = "not healthy: " + strings.Join(ill, "; ")
	}
	return r, nil
}

// An unwell error says that a service is not healthy: all others only say that nobody knows.
type unwell struct{ error }

func (u unwell) Unwrap() error { return u.error }

// down is unwell, and may pass.
func down(format string, args ...any) error {
	return actions.Transient(unwell{fmt.Errorf(format, args...)})
}

// ask is nil when a service answers as it should.
func ask(ctx context.Context, asker Asker, namespace, name, endpoint string, expected int) error {
	status, err := asker.Ask(ctx, namespace, name, endpoint)
	if err != nil {
		return err
	}
	if expected == 0 && status >= 200 && status < 300 || status == expected {
		return nil
	}
	return down("service %s/%s answers with status %d", namespace, name, status)
}

// every is how often verify_recovery asks.
const every = time.Second

func verifyRecovery(ctx context.Context, asker Asker, req *actions.Request) (*actions.Result, error) {
	namespace, names, err := services(req)
	if err != nil {
		return nil, err
	}
	stableFor := req.Parameters.Duration("stableFor")
	var since time.Time // the end of the first look of all that found everything healthy; zero when the last did not
	var last error
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		well := true
		for _, name := range names {
			if err := ask(ctx, asker, namespace, name, req.Parameters.String("healthEndpoint"), 0); err != nil {
				if ctx.Err() == nil && !actions.IsTransient(err) {
					return nil, err
				}
				well, last = false, err
			}
		}
		switch {
		case !well:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		}
		if well && time.Since(since) >= stableFor && ctx.Err() == nil {
			return &actions.Result{Message: fmt.Sprintf("%s healthy for %v without a break", strings.Join(names, ", "), stableFor)}, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if last == nil {
				return nil, context.Cause(ctx)
			}
			return nil, fmt.Errorf("the services were not healthy for %v without a break; last: %w", stableFor, last)
		}
	}
}
