// Command quickstart reads a plan, draws it, and runs it with handlers that only pretend.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/simulated"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/dag/render"
	"github.com/remedykit/remedy/executor"
)

//go:embed plan.json
var document []byte

func main() {
	if len(os.Args) > 1 {
		var err error
		if document, err = os.ReadFile(os.Args[1]); err != nil {
			log.Fatal(err)
		}
	}
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	registry := actions.Canonical()
	plan, err := dag.Load(document, registry)
	if err != nil {
		return err // every problem, with line and column
	}
	fmt.Fprintln(out, render.Box(plan, render.View{}))

	ex, err := executor.New(executor.Config{
		Handlers: simulated.New(simulated.Options{Scale: 0.01}).Handlers(registry),
		Policy:   approval.IncidentTable(),
		Approver: approval.Auto(), // in earnest: approval/terminal, or your own
	})
	if err != nil {
		return err
	}
	report, err := ex.Run(ctx, plan, executor.RunOptions{Confidence: approval.Confidence{Value: 0.85, Given: true}})
	if err != nil {
		return err
	}
	fmt.Fprint(out, report)
	return report.Err()
}
