package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/schema"
)

func (a *app) planCommand() *cobra.Command {
	var flags planFlags
	var on clusterFlags
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Say what will happen, before anything does",
		Long: `plan says what a run of the plan would do: its steps in order with their risk, gates, time-outs and
targets, what cannot be undone, and how long the whole is expected to take.`,
		Example: `  remedy plan plan.json --confidence 0.725
  remedy plan plan.json -o json | jq '.steps[] | select(.gate == "approval").id'`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.load(cmd.Context(), &flags, args[0])
			if err != nil {
				return err
			}
			facts, err := a.facts(cmd, &on, l)
			if err != nil {
				return err
			}
			if a.json() {
				return writeJSON(a.stdout, l.output(facts))
			}
			a.writePlan(l, facts)
			return nil
		},
	}
	flags.add(cmd)
	on.add(cmd)
	return cmd
}

// A planOutput is the machine output of plan.
type planOutput struct {
	Digest         string           `json:"digest"`
	Strategy       dag.Strategy     `json:"strategy"`
	Pattern        dag.Pattern      `json:"pattern"`
	PlanGate       string           `json:"planGate"`
	Groups         [][]int          `json:"groups"`
	ParallelGroups int              `json:"parallelGroups"`
	TotalSteps     int              `json:"totalSteps"`
	Steps          []planStepOutput `json:"steps"`
}

type planStepOutput struct {
	Number         int         `json:"number"`
	ID             string      `json:"id"`
	Action         string      `json:"action"`
	Dependencies   []int       `json:"dependencies"`
	Group          int         `json:"group"`
	Risk           schema.Risk `json:"risk"`
	Gate           string      `json:"gate"`
	GateReasons    []string    `json:"gateReasons"`
	TimeoutSeconds seconds     `json:"timeoutSeconds"`
	Reversible     bool        `json:"reversible"`
	Mutating       bool        `json:"mutating"`
	Target         string      `json:"target"`
	// Facts are those of the cluster, when one was asked.
	Facts []string `json:"facts,omitempty"`
}

// facts are what a cluster has to say of each step; nil when none was named.
func (a *app) facts(cmd *cobra.Command, on *clusterFlags, l *loaded) ([][]string, error) {
	if !cmd.Flags().Changed("kubeconfig") && !cmd.Flags().Changed("site") {
		return nil, nil
	}
	cluster, handlers, err := a.cluster(cmd.Context(), on, os.TempDir())
	if err != nil {
		return nil, err
	}
	defer cluster.Close()
	ex, err := executor.New(executor.Config{Handlers: handlers, Policy: l.policy})
	if err != nil {
		return nil, err
	}
	rehearsal, err := ex.DryRun(cmd.Context(), l.plan, executor.RunOptions{Confidence: l.confidence})
	if err != nil {
		return nil, err
	}
	all := make([][]string, l.plan.Len())
	for s := range rehearsal.Steps() {
		facts, err := cluster.Facts(cmd.Context(), l.plan.Step(s.Number-1).Task())
		if err != nil && s.Err == nil {
			facts = append(facts, "cannot be looked at: "+err.Error())
		}
		if s.Err != nil {
			facts = append(facts, "would fail: "+s.Err.Error())
		}
		all[s.Number-1] = facts
	}
	return all, nil
}

func (l *loaded) output(facts [][]string) planOutput {
	p := l.plan
	out := planOutput{
		Digest: p.Digest(), Strategy: p.Strategy(), Pattern: p.Pattern(), PlanGate: gateWord(l.gates.Plan.Required),
		ParallelGroups: p.ParallelGroups(), TotalSteps: p.Len(),
	}
	for _, g := range p.Groups() {
		out.Groups = append(out.Groups, numbers(g))
	}
	for i := range p.Len() {
		s, gate := p.Step(i), l.gates.Steps[i]
		out.Steps = append(out.Steps, planStepOutput{
			Number: s.Number(), ID: s.ID(), Action: s.Action(), Dependencies: numbers(s.Dependencies()), Group: p.Group(i) + 1,
			Risk: gate.Risk, Gate: gateWord(gate.Required), GateReasons: append([]string{}, gate.Reasons...),
			TimeoutSeconds: seconds(s.Timeout()), Reversible: s.Reversible(), Mutating: s.Mutating(), Target: target(s),
		})
	}
	for i := range facts {
		out.Steps[i].Facts = facts[i]
	}
	return out
}

func gateWord(required bool) string {
	if required {
		return "approval"
	}
	return "none"
}

// numbers turns indexes into the numbers that people see; never nil.
func numbers(indexes []int) []int {
	out := make([]int, len(indexes))
	for k, i := range indexes {
		out[k] = i + 1
	}
	return out
}

func joinNumbers(indexes []int, separator string) string {
	words := make([]string, len(indexes))
	for k, i := range indexes {
		words[k] = strconv.Itoa(i + 1)
	}
	return strings.Join(words, separator)
}

func target(s *dag.Step) string {
	if t := s.Target(); t != (schema.Target{}) {
		return t.String()
	}
	return ""
}

// title is "step 4 (rec-004 restart_pod)".
func title(s *dag.Step) string {
	return fmt.Sprintf("step %d (%s %s)", s.Number(), printable(s.ID()), printable(s.Action()))
}

func (a *app) writePlan(l *loaded, facts [][]string) {
	p, c := l.plan, a.color
	heading := func(s string) { fmt.Fprintf(a.stdout, "\n%s\n", c.bold(s)) }

	t := table{head: []string{"#", "ID", "ACTION", "AFTER", "GROUP", "RISK", "GATE", "TIME-OUT", "UNDO", "TARGET"}}
	undo := undoWords(p)
	for i := range p.Len() {
		s := p.Step(i)
		t.row(strconv.Itoa(s.Number()), printable(s.ID()), printable(s.Action()), dash(joinNumbers(s.Dependencies(), ", ")),
			strconv.Itoa(p.Group(i)+1), l.gates.Steps[i].Risk.String(), dash(strings.TrimPrefix(gateWord(l.gates.Required(i)), "none")),
			short(s.Timeout()), undo[i], dash(printable(target(s))))
	}
	t.paint = func(row, column int, cell string) string {
		switch {
		case column == 5 && l.gates.Steps[row].Risk >= schema.RiskHigh, column == 8 && cell == "no":
			return c.red(cell)
		case column == 6 && l.gates.Required(row), column == 5 && l.gates.Steps[row].Risk == schema.RiskMedium:
			return c.yellow(cell)
		}
		return cell
	}
	t.write(a.stdout, c)

	if facts != nil {
		heading("On the cluster")
		for i, some := range facts {
			for _, fact := range some {
				writeWrapped(a.stdout, "  ", "    ", title(p.Step(i))+": "+printable(fact))
			}
		}
	}
	if reasons := l.gateLines(); len(reasons) > 0 {
		heading("Gates")
		for _, line := range reasons {
			writeWrapped(a.stdout, "  ", "    ", line)
		}
	}
	if points := p.PointsOfNoReturn(); len(points) > 0 {
		heading("Points of no return")
		for _, i := range points {
			fmt.Fprintf(a.stdout, "  %s cannot be undone\n", title(p.Step(i)))
		}
	}
	if warnings := p.Warnings(); len(warnings) > 0 {
		heading("Warnings")
		for _, w := range warnings {
			where := ""
			if i, ok := p.Index(w.Step); ok {
				where = title(p.Step(i)) + ": "
			}
			writeWrapped(a.stdout, "  ", "    ", where+string(w.Code)+": "+printable(w.Message))
		}
	}
	heading("Totals")
	total := func(name, value string) { fmt.Fprintf(a.stdout, "  %-14s %s\n", name, value) }
	total("steps", fmt.Sprintf("%d in %s, %d parallel", p.Len(), count(len(p.Groups()), "group"), p.ParallelGroups()))
	total("strategy", string(p.Strategy()))
	total("pattern", dash(string(p.Pattern())))
	path, length := p.CriticalPath()
	total("work", short(p.Work()))
	total("critical path", fmt.Sprintf("%s (%s)", short(length), joinNumbers(path, " → ")))
	if text := p.Estimate().Text; text != "" {
		total("estimate", printable(text)+" (the document's)")
	}
	if rate, ok := p.SuccessRate(); ok {
		total("success rate", fmt.Sprintf("%.4g%% (the document's)", rate*100))
	}
	total("digest", p.Digest())
}

func (l *loaded) gateLines() []string {
	var lines []string
	add := func(who string, g *approval.Gate) {
		if !g.Required {
			return
		}
		for _, r := range g.Reasons {
			lines = append(lines, fmt.Sprintf("%s: %s", who, printable(r)))
		}
		if terms := termsWords(g.Terms); terms != "" {
			lines = append(lines, fmt.Sprintf("%s: %s", who, printable(terms)))
		}
	}
	add("the whole plan", &l.gates.Plan)
	for i := range l.gates.Steps {
		add(title(l.plan.Step(i)), &l.gates.Steps[i])
	}
	return lines
}

// termsWords says what the reasons do not: who decides at every gate of the policy, and by when where that is not usual.
func termsWords(t approval.Terms) string {
	var parts []string
	for i := range t.Panels {
		if t.Panels[i].Rule == "" {
			parts = append(parts, "the policy takes "+t.Panels[i].String())
		}
	}
	if t.Timeout > 0 && t.Timeout != approval.DefaultTimeout {
		parts = append(parts, "no answer within "+short(t.Timeout)+" is a no")
	}
	return strings.Join(parts, "; ")
}

// undoWords says of each step whether it can be undone; "-" where there is nothing to undo.
func undoWords(p *dag.Plan) []string {
	words := make([]string, p.Len())
	for i := range words {
		words[i] = "-"
		if s := p.Step(i); s.Mutating() && s.Reversible() {
			words[i] = "yes"
		}
	}
	for _, i := range p.PointsOfNoReturn() {
		words[i] = "no"
	}
	return words
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
