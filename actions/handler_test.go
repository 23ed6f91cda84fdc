package actions_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

type scaleParams struct {
	Namespace  string        `json:"namespace" validate:"required"`
	Queue      string        `json:"queue" kind:"Queue" validate:"required" doc:"The queue to drain."`
	Workers    int           `json:"workers" validate:"min=1,max=20" default:"4"`
	For        time.Duration `json:"for" validate:"min=1s,max=1h" default:"30s"`
	Mode       string        `json:"mode" validate:"omitempty,oneof=fast safe" default:"safe"`
	DeadLetter *bool         `json:"deadLetter" default:"true"`
	Topics     []string      `json:"topics" default:"a b"`
	Labels     map[string]string
	hidden     int
}

func TestTypedGetsItsParametersDecoded(t *testing.T) {
	var got scaleParams
	h := actions.Typed(func(_ context.Context, req *actions.Request, p scaleParams) (*actions.Result, error) {
		got = p
		return &actions.Result{Message: req.Step}, nil
	})
	res, err := h.Execute(t.Context(), &actions.Request{Task: &actions.Task{Step: "s", Parameters: actions.NewParameters(map[string]any{"namespace": "a", "queue": "q", "for": "2m", "workers": 3})}})
	require.NoError(t, err)
	require.Equal(t, "s", res.Message)
	require.Equal(t, scaleParams{Namespace: "a", Queue: "q", For: 2 * time.Minute, Workers: 3}, got)
	require.Zero(t, got.hidden)
}

func TestTypedFailsForGoodBeforeTheFunctionIsCalled(t *testing.T) {
	called := false
	h := actions.Typed(func(context.Context, *actions.Request, scaleParams) (*actions.Result, error) {
		called = true
		return nil, nil
	})
	_, err := h.Execute(t.Context(), &actions.Request{Task: &actions.Task{Parameters: actions.NewParameters(map[string]any{"workers": "three"})}})
	var classed *actions.HandlerError
	require.ErrorAs(t, err, &classed)
	require.False(t, actions.IsTransient(err))
	require.False(t, called)
	notAStruct := actions.Typed(func(context.Context, *actions.Request, int) (*actions.Result, error) { return nil, nil })
	_, err = notAStruct.Execute(t.Context(), &actions.Request{Task: &actions.Task{}})
	require.ErrorContains(t, err, "a pointer to a struct, not a *int")
}

func TestSpecOfReadsTheFields(t *testing.T) {
	type params struct {
		Namespace string            `json:"namespace" validate:"required"`
		Queue     string            `json:"queue" kind:"Queue" validate:"required" doc:"The queue to drain."`
		Workers   int32             `json:"workers" validate:"min=1,max=20" default:"4"`
		Port      int16             `json:"port"`
		Big       *int64            `json:"big"`
		For       time.Duration     `json:"for" validate:"min=1s,max=1h" default:"30s"`
		Mode      string            `json:"mode" validate:"omitempty,oneof=fast safe" default:"safe"`
		Dry       *bool             `json:"dry" default:"true"`
		Topics    []string          `json:"topics" default:"a b"`
		Hosts     []string          `json:"hosts" type:"nameList"`
		Memory    string            `json:"memory" type:"quantity" default:"1Gi"`
		Labels    map[string]string `json:"labels"`
		Extra     map[string]any    `json:"extra"`
		List      []any             `json:"list"`
		Free      any               `json:"free"`
		Ignored   chan int          `json:"-"`
		unseen    chan int
	}
	require.Nil(t, params{}.unseen)
	base := actions.Spec{Name: "drain_queue", RiskFloor: schema.RiskLow, Rules: []actions.Rule{{AtMostOne: []string{"topics", "hosts"}}}}
	spec, err := actions.SpecOf[params](base)
	require.NoError(t, err)
	min16, max16, one, twenty, hour := int64(-1<<15), int64(1<<15-1), int64(1), int64(20), int64(3600)
	want := []actions.Parameter{
		{Name: "namespace", Type: actions.Namespace, Required: true},
		{Name: "queue", Type: actions.Name, Kind: "Queue", Required: true, Description: "The queue to drain."},
		{Name: "workers", Type: actions.Integer, Min: &one, Max: &twenty, Default: int64(4)},
		{Name: "port", Type: actions.Integer, Min: &min16, Max: &max16},
		{Name: "big", Type: actions.Integer},
		{Name: "for", Type: actions.Duration, Min: &one, Max: &hour, Default: "30s"},
		{Name: "mode", Type: actions.String, Enum: []string{"fast", "safe"}, Default: "safe"},
		{Name: "dry", Type: actions.Boolean, Default: true},
		{Name: "topics", Type: actions.StringList, Default: []string{"a", "b"}},
		{Name: "hosts", Type: actions.NameList},
		{Name: "memory", Type: actions.Quantity, Default: "1Gi"},
		{Name: "labels", Type: actions.StringMap},
		{Name: "extra", Type: actions.Object},
		{Name: "list", Type: actions.Object},
		{Name: "free", Type: actions.Any},
	}
	require.Equal(t, want, spec.Parameters)
	require.Equal(t, base.Rules, spec.Rules)
	var reg actions.Registry
	require.NoError(t, reg.Add(spec))
}

func specError[P any](base actions.Spec) error {
	_, err := actions.SpecOf[P](base)
	return err
}

func TestSpecOfRefusesWhatItCannotRead(t *testing.T) {
	x := actions.Spec{Name: "x"}
	for want, err := range map[string]error{
		"field F: no parameter has the Go type float64": specError[struct {
			F float64 `json:"f"`
		}](x),
		"field F: no parameter has the Go type uint": specError[struct {
			F uint `json:"f"`
		}](x),
		"field F: no parameter has the Go type struct": specError[struct {
			F struct{} `json:"f"`
		}](x),
		`field F: validate: unknown rule "email"`: specError[struct {
			F string `json:"f" validate:"required,email"`
		}](x),
		`field F: validate: min: strconv.ParseInt: parsing "low"`: specError[struct {
			F int `json:"f" validate:"min=low"`
		}](x),
		"field F: validate: max: 1.5s is not whole seconds": specError[struct {
			F time.Duration `json:"f" validate:"max=1500ms"`
		}](x),
		`field F: default: strconv.ParseBool`: specError[struct {
			F bool `json:"f" default:"yes"`
		}](x),
		`field F: default: a stringMap cannot have one`: specError[struct {
			F map[string]string `json:"f" default:"a"`
		}](x),
		`field F: type: a int cannot be a "quantity"`: specError[struct {
			F int `json:"f" type:"quantity"`
		}](x),
		`"Upper": name: want camelCase`: specError[struct {
			F int `json:"Upper"`
		}](x),
		"default: f is 9; expected an integer": specError[struct {
			F int `json:"f" validate:"max=3" default:"9"`
		}](x),
		"parameters come from a struct, not from int":   specError[int](x),
		`action "x": parameters: they come from struct`: specError[struct{}](actions.Spec{Name: "x", Parameters: []actions.Parameter{{Name: "a"}}}),
	} {
		require.ErrorContains(t, err, want)
	}
}

type wrapped struct {
	inner actions.ActionHandler
}

func (w wrapped) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	return w.inner.Execute(ctx, req)
}
func (w wrapped) Unwrap() actions.ActionHandler { return w.inner }

type dry struct {
	actions.HandlerFunc
	name string
}

func (d dry) DryRun(context.Context, *actions.Request) (*actions.Preview, error) {
	return &actions.Preview{Change: []string{d.name}}, nil
}

type dryWrapper struct {
	wrapped
	dry
}

func (d dryWrapper) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	return d.inner.Execute(ctx, req)
}

func TestCapabilitiesAreFoundThroughWrappersOutermostFirst(t *testing.T) {
	inner := dry{name: "inner"}
	h := wrapped{inner: wrapped{inner: inner}}
	d, ok := actions.As[actions.DryRunner](h)
	require.True(t, ok)
	p, err := d.DryRun(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"inner"}, p.Change)

	outer := dryWrapper{wrapped{inner: inner}, dry{name: "outer"}}
	d, ok = actions.As[actions.DryRunner](outer)
	require.True(t, ok)
	p, _ = d.DryRun(t.Context(), nil)
	require.Equal(t, []string{"outer"}, p.Change)

	_, ok = actions.As[actions.Prober](h)
	require.False(t, ok)
	_, ok = actions.As[actions.Prober](nil)
	require.False(t, ok)
	_, ok = actions.As[actions.Prober](wrapped{})
	require.False(t, ok, "a wrapper of nothing ends the search")
}

func TestErrorsSayWhetherAnotherAttemptCouldHelp(t *testing.T) {
	cause := errors.New("conflict")
	require.NoError(t, actions.Transient(nil))
	require.NoError(t, actions.Permanent(nil))
	require.True(t, actions.IsTransient(actions.Transient(cause)))
	require.True(t, actions.IsTransient(fmt.Errorf("patch: %w", actions.Transient(cause))))
	require.False(t, actions.IsTransient(actions.Permanent(cause)))
	require.False(t, actions.IsTransient(cause))
	require.False(t, actions.IsTransient(nil))
	require.False(t, actions.IsTransient(actions.Permanent(actions.Transient(cause))), "the outermost word counts")
	require.True(t, actions.IsTransient(actions.Transient(actions.Permanent(cause))))
	require.ErrorIs(t, actions.Transient(cause), cause)
	require.Equal(t, "conflict", actions.Transient(cause).Error())
}

type refusing struct{ err error }

func (r refusing) Begin(context.Context, *actions.Request, *actions.Undo) error { return r.err }

func TestBegin(t *testing.T) {
	req := &actions.Request{Run: "r", Task: &actions.Task{Step: "s"}}
	require.Equal(t, "r/s", req.Key())
	require.NoError(t, req.Begin(t.Context(), nil), "a handler can be tested without an executor")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, req.Begin(ended, nil), context.Canceled)
	stop := errors.New("stop")
	req.Conductor = refusing{stop}
	require.ErrorIs(t, req.Begin(t.Context(), &actions.Undo{Summary: strings.Repeat("x", 3)}), stop)
}
