package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remedykit/remedy/schema"
)

func (a *app) validateCommand() *cobra.Command {
	var flags planFlags
	cmd := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check plans and list every problem with its position",
		Long: `validate checks plans and lists every problem and repair with its position.

It exits with 1 when a plan has errors. Warnings and repairs leave a plan valid; --strict refuses repairs.`,
		Example: `  remedy validate plan.json
  remedy validate plans/*.json -o json
  my-model | remedy validate - --strict`,
		Args: someFiles,
		RunE: func(cmd *cobra.Command, args []string) error { return a.validate(cmd.Context(), &flags, args) },
	}
	flags.add(cmd)
	return cmd
}

// A validation is the machine output of validate for one file.
type validation struct {
	File     string           `json:"file"`
	Valid    bool             `json:"valid"`
	Steps    int              `json:"steps"`
	Problems []schema.Problem `json:"problems"`
	Repairs  []schema.Repair  `json:"repairs"`
}

func (a *app) validate(ctx context.Context, f *planFlags, files []string) error {
	r, err := a.reader(ctx, f)
	if err != nil {
		return err
	}
	code := exitOK
	all := make([]validation, 0, len(files))
	for _, file := range files {
		doc, plan, err := r.document(ctx, file)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(a.stderr, "remedy validate: %s\n", printableLines(err.Error()))
			code = exitUsage
			continue
		}
		if plan == nil {
			code = max(code, exitFailed)
		}
		if !a.json() {
			writeFindings(a.stdout, a.color, file, doc)
			if plan != nil {
				writeValid(a.stdout, a.color, file, doc)
			}
			continue
		}
		all = append(all, validation{
			File: file, Valid: plan != nil, Steps: len(doc.Recommendations),
			Problems: append([]schema.Problem{}, doc.Problems...),
			Repairs:  append([]schema.Repair{}, doc.Repairs...),
		})
	}
	if a.json() {
		if err := writeJSON(a.stdout, all); err != nil {
			return err
		}
	}
	if code != exitOK {
		return &exit{code: code}
	}
	return nil
}

// writeFindings writes problems and repairs in the order of the document, as compilers do.
func writeFindings(w io.Writer, p palette, file string, doc *schema.Document) {
	type finding struct {
		line, column int
		text         string
	}
	var all []finding
	for _, q := range doc.Problems {
		word := p.red(string(q.Severity))
		if q.Severity == schema.SeverityWarning {
			word = p.yellow(string(q.Severity))
		}
		text := fmt.Sprintf("%s: %s: %s", word, q.Code, printable(q.Message))
		if q.Suggestion != "" {
			text += fmt.Sprintf(" (did you mean %s?)", printable(q.Suggestion))
		}
		all = append(all, finding{q.Line, q.Column, text})
	}
	for _, r := range doc.Repairs {
		all = append(all, finding{r.Line, r.Column, fmt.Sprintf("%s: %s: %s", p.cyan("repaired"), r.Kind, printable(r.Message))})
	}
	slices.SortStableFunc(all, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	for _, f := range all {
		fmt.Fprintf(w, "%s:%d:%d: %s\n", printable(file), f.line, f.column, f.text)
	}
}

func writeValid(w io.Writer, p palette, file string, doc *schema.Document) {
	parts := []string{p.green("valid"), count(len(doc.Recommendations), "step")}
	if n := len(doc.Problems); n > 0 {
		parts = append(parts, count(n, "warning"))
	}
	if n := len(doc.Repairs); n > 0 {
		parts = append(parts, count(n, "repair"))
	}
	fmt.Fprintf(w, "%s: %s\n", printable(file), strings.Join(parts, ", "))
}
