package actionstest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// recorder is a testing.TB that keeps what a check reports.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string
	skipped  bool
}

func (r *recorder) Helper() {}
func (r *recorder) Error(args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprint(args...))
}
func (r *recorder) Errorf(format string, args ...any) { r.Error(fmt.Sprintf(format, args...)) }
func (r *recorder) Skip(...any)                       { r.skipped = true }

// handler is one that keeps the contract, and breaks the promises that a test names.
type handler struct {
	breaks  string
	effects atomic.Int64
	mu      sync.Mutex
	done    map[string]bool
}

func (h *handler) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	switch h.breaks {
	case "panics":
		panic("no cluster")
	case "exits":
		runtime.Goexit()
	case "hangs":
		<-time.After(time.Hour)
	case "fails":
		return nil, errors.New("never works")
	case "effect first":
		h.effect(req)
	case "changes task":
		req.Target.Name = "other"
	case "changes request":
		req.Attempt = 7
	case "outputs":
		return &actions.Result{Outputs: map[string]any{"f": func() {}}}, nil
	case "fails at once":
		if h.effects.Add(1) > 3 {
			return nil, errors.New("busy")
		}
		return nil, nil
	}
	if h.breaks != "ignores context" && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	undo := &actions.Undo{Summary: "put it back", State: map[string]any{"replicas": 3}}
	switch h.breaks {
	case "undo":
		undo.State["f"] = func() {}
	case "undo summary":
		undo.Summary = ""
	case "no undo":
		undo = nil
	}
	if h.breaks != "never begins" {
		if err := req.Begin(ctx, undo); err != nil && h.breaks != "ignores begin" && h.breaks != "ignores context" {
			return nil, err
		}
	}
	if h.breaks == "begins twice" {
		_ = req.Begin(ctx, undo)
	}
	if h.breaks != "effect first" {
		h.effect(req)
	}
	return &actions.Result{Outputs: map[string]any{"n": 1}}, nil
}

func (h *handler) effect(req *actions.Request) {
	h.effects.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done == nil {
		h.done = map[string]bool{}
	}
	h.done[req.Key()] = true
}

func (h *handler) BeginsItself() bool { return h.breaks != "no beginner" }

func (h *handler) DryRun(_ context.Context, req *actions.Request) (*actions.Preview, error) {
	switch h.breaks {
	case "dry effect":
		h.effect(req)
	case "dry nil":
		return nil, nil
	case "dry error":
		return nil, errors.New("no dry run")
	case "dry panics":
		panic("dry")
	}
	return &actions.Preview{Verdict: actions.Verified}, nil
}

func (h *handler) Probe(_ context.Context, req *actions.Request) (actions.Outcome, error) {
	h.mu.Lock()
	done := h.done[req.Key()]
	h.mu.Unlock()
	switch h.breaks {
	case "probe error":
		return 0, errors.New("no probe")
	case "probe word":
		return 7, nil
	case "probe effect":
		h.effects.Add(1)
	case "probe yes":
		return actions.OutcomeHappened, nil
	case "probe no":
		return actions.OutcomeDidNotHappen, nil
	case "probe panics":
		panic("probe")
	}
	if done {
		return actions.OutcomeHappened, nil
	}
	return actions.OutcomeDidNotHappen, nil
}

func (h *handler) Footprint(context.Context, *actions.Request) ([]actions.Touch, error) {
	switch h.breaks {
	case "footprint error":
		return nil, errors.New("no footprint")
	case "footprint effect":
		h.effects.Add(1)
	case "footprint name":
		return []actions.Touch{{Target: schema.Target{Kind: "Pod"}}}, nil
	}
	return []actions.Touch{{Target: schema.Target{Kind: "Pod", Name: "p"}}}, nil
}

func caseOf(h *handler) Case {
	return Case{Handler: h, Request: actions.Request{Task: &actions.Task{Action: "x", Target: schema.Target{Kind: "Pod", Name: "p"}}},
		Effects: func() int { return int(h.effects.Load()) }}
}

// failures runs every check and returns what they report, each with the name of its promise.
func failures(t *testing.T, c Case) []string {
	t.Helper()
	if err := c.complete(); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range promises() {
		r := &recorder{}
		p.check(r, c)
		for _, f := range r.failures {
			all = append(all, p.name+": "+f)
		}
	}
	return all
}

func TestAHandlerThatKeepsTheContractPasses(t *testing.T) {
	Run(t, caseOf(&handler{}))
	Run(t, caseOf(&handler{breaks: "no undo"}))
}

func TestAHandlerWithoutCapabilitiesPasses(t *testing.T) {
	Run(t, Case{Handler: actions.HandlerFunc(func(ctx context.Context, req *actions.Request) (*actions.Result, error) { return nil, ctx.Err() }),
		Request: actions.Request{Task: &actions.Task{Action: "x", Number: 3}, Run: "r", Attempt: 2}})
}

func TestABrokenPromiseIsReported(t *testing.T) {
	for breaks, want := range map[string]string{
		"panics":           "succeeds: Execute panicked: no cluster",
		"exits":            "succeeds: Execute ended its goroutine (runtime.Goexit) instead of returning",
		"fails":            "succeeds: Execute of a request that should succeed: never works",
		"outputs":          "succeeds: Result.Outputs cannot be written to a report",
		"ignores context":  "does nothing when its context has ended: Execute had 1 effects although its context had ended",
		"effect first":     "begins at most once and before its effect: Execute called Begin after its effect",
		"changes request":  "leaves the request as it was: Execute changed its Request",
		"changes task":     "leaves the request as it was: Execute changed the Task",
		"begins twice":     "begins at most once and before its effect: Execute called Begin 2 times",
		"never begins":     "begins at most once and before its effect: the handler says that it calls Begin itself, but it had an effect without",
		"no beginner":      "begins at most once and before its effect: Execute called Begin, but the handler is no Beginner",
		"undo":             "begins at most once and before its effect: the Undo given to Begin cannot be kept",
		"undo summary":     "begins at most once and before its effect: the Undo given to Begin has no Summary",
		"ignores begin":    "has no effect when it may not begin: Execute had 1 effects although Begin returned an error",
		"fails at once":    "is safe for concurrent use: Execute of request",
		"dry effect":       "has no effect in a dry run: DryRun had 1 effects",
		"dry nil":          "has no effect in a dry run: DryRun returned neither a Preview nor an error",
		"dry error":        "has no effect in a dry run: DryRun of a request that should succeed: no dry run",
		"dry panics":       "has no effect in a dry run: DryRun panicked: dry",
		"probe error":      "says whether its effect happened: Probe before Execute answered 0, no probe",
		"probe word":       "says whether its effect happened: Probe before Execute answered 7, <nil>",
		"probe effect":     "says whether its effect happened: Probe had 1 effects",
		"probe yes":        "says whether its effect happened: Probe says that the effect happened before Execute was called",
		"probe no":         "says whether its effect happened: Probe says that the effect did not happen after Execute had succeeded",
		"probe panics":     "says whether its effect happened: Probe panicked: probe",
		"footprint error":  "names its footprint: Footprint of a request that should succeed: no footprint",
		"footprint effect": "names its footprint: Footprint had 1 effects",
		"footprint name":   "names its footprint: Footprint names an object without kind or name",
	} {
		t.Run(breaks, func(t *testing.T) {
			got := failures(t, caseOf(&handler{breaks: breaks}))
			for _, f := range got {
				if strings.HasPrefix(f, want) {
					return
				}
			}
			t.Errorf("want a failure that begins with %q, got %q", want, got)
		})
	}
}

func TestAHandlerThatHangsIsReportedAndLeftBehind(t *testing.T) {
	c := caseOf(&handler{breaks: "hangs"})
	c.Patience = time.Millisecond
	c.Concurrency = 2
	got := failures(t, c)
	if len(got) == 0 || !strings.HasPrefix(got[0], "succeeds: Execute still runs after 1ms") {
		t.Errorf("got %q", got)
	}
}

func TestAPanicIsReportedWithItsStack(t *testing.T) {
	got := failures(t, caseOf(&handler{breaks: "panics"}))
	if len(got) == 0 || !strings.Contains(got[0], "actionstest_test.go") {
		t.Errorf("got %q", got)
	}
}

func TestACaseThatSaysTooLittleIsRefused(t *testing.T) {
	for want, c := range map[string]Case{
		"Case.Handler is nil":      {},
		"Case.Request has no Task": {Handler: &handler{}},
		"names no action":          {Handler: &handler{}, Request: actions.Request{Task: &actions.Task{}}},
	} {
		if err := c.complete(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
