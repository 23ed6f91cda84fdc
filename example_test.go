package remedy_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/simulated"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
)

// remediate is what the README shows.
func remediate(ctx context.Context, file string, approver approval.Approver) (*executor.Report, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	registry := actions.Canonical() // 38 actions; add your own
	plan, err := dag.Load(data, registry)
	if err != nil {
		return nil, err // every problem of the document, with line, column and suggestion
	}
	ex, err := executor.New(executor.Config{
		Handlers:  simulated.New(simulated.Options{Scale: 0.0001}).Handlers(registry), // or your own
		Policy:    approval.IncidentTable(),                                           // who is asked, by risk and confidence
		Approver:  approver,                                                           // such as terminal.New(os.Stdin, os.Stdout, "alice")
		Observers: []executor.Observer{executor.Log(slog.Default())},
	})
	if err != nil {
		return nil, err
	}
	return ex.Run(ctx, plan, executor.RunOptions{
		Author:     "model", // who cannot approve it
		Confidence: approval.Confidence{Value: 0.725, Given: true},
	})
}

// A document becomes a plan, the plan a run. The one gate of this plan is answered by a function, as a bot would.
func Example() {
	slog.SetLogLoggerLevel(slog.LevelError)
	bot := approval.ApproverFunc(func(_ context.Context, req *approval.Request) (*approval.Decision, error) {
		fmt.Println("asked about", req.Step.ID(), "because", req.Gate.Reasons[0])
		return &approval.Decision{Verdict: approval.Approved, By: "alice"}, nil
	})
	report, err := remediate(context.Background(), "examples/plans/oomkill.json", bot)
	if err != nil {
		panic(err)
	}
	for step := range report.Steps() {
		fmt.Println(step.Number, step.ID, step.Status)
	}
	fmt.Println(report.Status())
	// Output:
	// asked about rec-004 because risk medium at confidence 0.725 (from 0.60 medium risk asks)
	// 1 rec-001 succeeded
	// 2 rec-002 succeeded
	// 3 rec-003 succeeded
	// 4 rec-004 succeeded
	// 5 rec-005 succeeded
	// 6 rec-006 succeeded
	// 7 rec-007 succeeded
	// succeeded
}

func TestTheREADMEShowsWhatIsTested(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, code, ok := strings.Cut(string(readme), "```go\n")
	require.True(t, ok)
	code, _, ok = strings.Cut(code, "```")
	require.True(t, ok)
	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	require.Contains(t, string(source), code)
}
