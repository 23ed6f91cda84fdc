package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

func (a *app) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Test a policy",
		Long: `policy is about the file that --policy names: which steps wait for a person, who decides, and what is forbidden. Its
rules have conditions in CEL, such as step.action == "drain_node" && risk >= high; a rule can only ask for more.`,
		Example: "  remedy policy test policy.cases.yaml",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, "unknown command %q%s", "policy "+args[0], didYouMean(cmd.SuggestionsFor(args[0])))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(a.policyTestCommand())
	return cmd
}

func (a *app) policyTestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "test FILE...",
		Short: "Check that a policy asks and refuses where it should",
		Long: `test reads files of cases and says of each whether the policy does what the case expects:

  policy: policy.yaml                  # beside this file, like the plans
  cases:
    - name: ten replicas take two people
      plan: cascading-failure.json     # or the document itself
      namespace: production            # like the flags of the same names:
      overlay: overlay.yaml            # namespace, overlay, confidence,
      confidence: 0.85                 # allowLowConfidence
      at: 2026-11-24T21:30:00Z         # noon UTC of 2026-01-05, a Monday, without it
      expect:
        planGate: none                 # or approval
        steps:
          rec-004:
            gate: approval             # or none
            risk: medium
            reason: replicas           # a part of one of the reasons
            rules: [large scale-ups]   # all whose condition is met; [] for none
            quorum: 2                  # the most that one panel needs
            approvers: [ann, group sre]  # all of them; [anybody] for everybody
            timeout: 10m
    - name: nothing during the sale
      plan: oomkill.json
      at: 2026-11-27T12:00:00Z
      expect: {refused: freeze sale}   # a part of why the plan is refused

What a case does not speak of is not looked at. It exits with 1 when a case is not as expected.`,
		Example: `  remedy policy test policy.cases.yaml
  remedy policy test policies/*.cases.yaml -o json | jq '.[] | select(.ok | not)'`,
		Args: someFiles,
		RunE: func(cmd *cobra.Command, args []string) error { return a.policyTest(cmd.Context(), args) },
	}
}

// A caseOutput is the machine output of policy test for one case.
type caseOutput struct {
	File        string       `json:"file"`
	Case        string       `json:"case"`
	OK          bool         `json:"ok"`
	Differences []difference `json:"differences"`
}

// A difference is what a case expected, and what it got instead. Step is "" for the plan as a whole.
type difference struct {
	Step     string `json:"step,omitempty"`
	Field    string `json:"field"`
	Expected string `json:"expected"`
	Got      string `json:"got"`
}

func (a *app) policyTest(ctx context.Context, files []string) error {
	code := exitOK
	all := []caseOutput{}
	for _, file := range files {
		results, err := a.tryCases(ctx, file)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, r := range results {
			if !r.OK {
				code = max(code, exitFailed)
			}
			if !a.json() {
				a.writeCase(r)
			}
		}
		all = append(all, results...)
		if err != nil {
			fmt.Fprintf(a.stderr, "remedy policy test: %s\n", printableLines(err.Error()))
			code = exitUsage
		}
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

func (a *app) writeCase(r caseOutput) {
	word := a.color.green("ok  ")
	if !r.OK {
		word = a.color.red("FAIL")
	}
	fmt.Fprintf(a.stdout, "%s  %s: %s\n", word, printable(r.File), printable(r.Case))
	for _, d := range r.Differences {
		where := d.Field
		if d.Step != "" {
			where = d.Step + ": " + where
		}
		writeWrapped(a.stdout, "      ", "        ", printable(fmt.Sprintf("%s: expected %s, got %s", where, dash(d.Expected), dash(d.Got))))
	}
}

// tryCases tries the cases of a file, as far as they can be tried.
func (a *app) tryCases(ctx context.Context, file string) ([]caseOutput, error) {
	data, err := a.readSettings(ctx, file)
	if err != nil {
		return nil, err
	}
	cases, err := parseCases(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var results []caseOutput
	for i := range cases.Cases {
		c := &cases.Cases[i]
		differences, err := a.tryCase(ctx, filepath.Dir(file), cases.Policy, c)
		if err != nil {
			return results, fmt.Errorf("%s: line %d: case %q: %w", file, c.line, c.Name, err)
		}
		results = append(results, caseOutput{File: file, Case: c.Name, OK: len(differences) == 0, Differences: differences})
	}
	return results, nil
}

func (a *app) tryCase(ctx context.Context, dir, policy string, c *policyCase) ([]difference, error) {
	beside := func(name string) string {
		if name == "" || filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	r, err := a.reader(ctx, &planFlags{
		policy: beside(policy), overlay: beside(c.Overlay), namespace: c.Namespace, maxSteps: schema.DefaultMaxSteps, maxBytes: schema.DefaultMaxBytes,
	})
	if err != nil {
		return nil, err
	}
	var doc *schema.Document
	var plan *dag.Plan
	if c.inline != nil {
		doc, plan, err = r.build(c.inline)
	} else {
		doc, plan, err = r.document(ctx, beside(c.file))
	}
	if err != nil {
		return nil, err
	}
	if plan == nil {
		var why []string
		for _, p := range doc.Problems {
			if p.Severity == schema.SeverityError {
				why = append(why, fmt.Sprintf("line %d: %s: %s", p.Line, p.Code, p.Message))
			}
		}
		return c.Expect.refusal(strings.Join(why, "; ")), nil
	}
	for id := range c.Expect.Steps {
		if _, ok := plan.Index(id); !ok {
			return nil, fmt.Errorf("the plan has no step %q", id)
		}
	}
	gates, err := r.policy.Gates(plan, c.confidence(), cmp.Or(c.At.is, usualMoment))
	if err != nil {
		return c.Expect.refusal(err.Error()), nil
	}
	return c.Expect.differences(r.policy, plan, gates), nil
}

// usualMoment is when a case is that does not say: what it says must not depend on the day on which it is tried.
var usualMoment = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)

// refusal compares with a plan that is refused.
func (e *expectation) refusal(why string) []difference {
	if e.Refused != "" && strings.Contains(why, e.Refused) {
		return []difference{}
	}
	return []difference{{Field: "refused", Expected: e.Refused, Got: why}}
}

// differences compares with a plan that is not refused.
func (e *expectation) differences(policy *approval.Policy, plan *dag.Plan, gates *approval.Gates) []difference {
	all := []difference{}
	if e.Refused != "" {
		all = append(all, difference{Field: "refused", Expected: e.Refused})
	}
	if got := gateWord(gates.Plan.Required); e.PlanGate != "" && e.PlanGate != got {
		all = append(all, difference{Field: "planGate", Expected: e.PlanGate, Got: got})
	}
	for i := range plan.Len() {
		id := plan.Step(i).ID()
		if want, ok := e.Steps[id]; ok {
			for _, d := range want.differences(policy, &gates.Steps[i]) {
				d.Step = id
				all = append(all, d)
			}
		}
	}
	return all
}

func (e *stepExpectation) differences(policy *approval.Policy, g *approval.Gate) (all []difference) {
	compare := func(field, expected, got string) {
		if expected != got {
			all = append(all, difference{Field: field, Expected: expected, Got: got})
		}
	}
	if e.Gate != "" {
		compare("gate", e.Gate, gateWord(g.Required))
	}
	if e.Risk.is != schema.RiskUnset {
		compare("risk", e.Risk.is.String(), g.Risk.String())
	}
	if e.Reason != "" && !slices.ContainsFunc(g.Reasons, func(r string) bool { return strings.Contains(r, e.Reason) }) {
		compare("reason", e.Reason, strings.Join(g.Reasons, "; "))
	}
	if e.Rules != nil {
		compare("rules", listed(e.Rules), listed(g.Rules))
	}
	if e.Quorum > 0 {
		compare("quorum", fmt.Sprint(e.Quorum), fmt.Sprint(quorum(g)))
	}
	if e.Approvers != nil {
		compare("approvers", listed(withMembers(policy, e.Approvers)), listed(approvers(g)))
	}
	if e.Timeout.is > 0 {
		got := "-"
		if g.Required {
			got = short(g.Terms.Wait())
		}
		compare("timeout", short(e.Timeout.is), got)
	}
	return all
}

// quorum is the most people whom a panel needs; 0 when nobody is asked.
func quorum(g *approval.Gate) int {
	if !g.Required {
		return 0
	}
	most := 1
	for _, p := range g.Terms.Panels {
		most = max(most, p.Quorum)
	}
	return most
}

const anybody = "anybody"

// approvers are all who sit on a panel.
func approvers(g *approval.Gate) (names []string) {
	if !g.Required {
		return nil
	}
	for _, p := range g.Terms.Panels {
		names = append(names, p.Approvers.People...)
		for _, group := range p.Approvers.Groups {
			names = append(names, "group "+group)
		}
	}
	if len(names) == 0 {
		return []string{anybody}
	}
	return names
}

// withMembers adds to groups those whom the policy lists in them, as it does itself.
func withMembers(p *approval.Policy, names []string) []string {
	all := slices.Clone(names)
	for _, n := range names {
		if group, ok := strings.CutPrefix(n, "group "); ok {
			all = append(all, p.Groups[group]...)
		}
	}
	return all
}

// listed writes names in an order of its own, each once.
func listed(names []string) string {
	return strings.Join(slices.Compact(slices.Sorted(slices.Values(names))), ", ")
}
