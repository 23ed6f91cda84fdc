package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"golang.org/x/term"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/simulated"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/terminal"
	"github.com/remedykit/remedy/executor"
)

const (
	// author is who writes plans, and so cannot approve them.
	author = "model"
	// maxTimeScale is slower than anybody waits.
	maxTimeScale = 1000
)

type runFlags struct {
	planFlags
	conductFlags
	id       string
	incident string
	dryRun   bool
}

// conductFlags say how a run is conducted; run, resume and rollback have them.
type conductFlags struct {
	scheduleFlags
	journalFlags
	clusterFlags
	handlers, approve, by, rollback, listen string
	timeScale                               float64
	yes                                     bool
}

// clusterFlags say which cluster is acted on, and what the site knows of it.
type clusterFlags struct{ kubeconfig, site string }

func (f *clusterFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "`file` that says how to reach the cluster; found as kubectl does without it")
	cmd.Flags().StringVar(&f.site, "site", "", "`file` (YAML) with the site's commands, alerts, repositories and messages")
}

func (f *conductFlags) add(cmd *cobra.Command) {
	f.scheduleFlags.add(cmd)
	f.clusterFlags.add(cmd)
	f.journalFlags.add(cmd)
	s := cmd.Flags()
	s.StringVar(&f.handlers, "handlers", "", "what carries the steps out: simulated or kube (required)")
	s.StringVar(&f.approve, "approve", "", "who decides: terminal, auto, deny, or some of web, slack, email and cluster with commas between them; terminal on a terminal, else nobody")
	s.StringVar(&f.listen, "listen", "127.0.0.1:8080", "`address` of what --approve web, slack and email serve; port 0 finds a free one")
	s.StringVar(&f.by, "by", "", "who answers at the terminal; your user name without it")
	s.StringVar(&f.rollback, "rollback", "automatic", "what becomes of a failed run: automatic, manual (see show) or none")
	s.Float64Var(&f.timeScale, "time-scale", 1, "how long simulated steps take: 0.01 makes a minute last 0.6s; time-outs stay as they are")
	s.BoolVar(&f.yes, "yes", false, "allow --approve auto with handlers that are not simulated")
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run FILE --handlers simulated|kube",
		Short: "Run a plan",
		Long: `run runs a plan and shows its progress: live on a terminal, one line per event elsewhere, one JSON object per
line and the report last with -o json.

Gates are asked at the terminal when there is one. Elsewhere they stay pending unless --approve says more, and the run
is parked when nothing else is left to do. With --approve web they are asked on pages that this command serves, until
the run has ended: for others by what approvals.web of --site says, without it for you by a link. ctrl-C interrupts: nothing new starts, and what runs is told to end.

Before the first effect a dry run of the whole plan is made; --dry-run makes no more than that. What happens is kept in a
journal: a run that was parked, interrupted or killed goes on with remedy resume. A run that fails is rolled back.

With --handlers kube the steps act on a cluster, as the account of the kubeconfig: remedy rbac prints the role that it needs.
What only a site knows is in the file of --site; examples/plans/site.yaml is one.

Exit codes: 0 succeeded, 1 failed, rejected or cancelled, 2 wrong usage, 3 parked, 130 interrupted.`,
		Example: `  remedy run plan.json --handlers simulated --confidence 0.725
  remedy run plan.json --handlers simulated --approve auto --time-scale 0.02
  remedy run plan.json --handlers simulated --approve auto -o json | jq -c .report.status
  remedy run plan.json --handlers simulated --approve web --listen 127.0.0.1:8080
  remedy run plan.json --handlers simulated --dry-run
  remedy run plan.json --handlers kube --kubeconfig ~/.kube/config --site site.yaml --dry-run`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error { return a.runPlan(cmd, &f, args[0]) },
	}
	f.planFlags.add(cmd)
	f.conductFlags.add(cmd)
	cmd.Flags().StringVar(&f.id, "id", "", "id of the run; a new one without it")
	cmd.Flags().StringVar(&f.incident, "incident", "", "`file` (YAML) with id, title, summary and evidence of the incident, for those who are asked")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "say what every step would do, and do nothing")
	return cmd
}

// config checks the flags and makes of them all of a Config but its Policy and Observers.
func (a *app) config(f *conductFlags, file string) (executor.Config, error) {
	c := executor.Config{DryRunFirst: true}
	switch f.handlers {
	case "simulated":
		c.Handlers = simulated.New(simulated.Options{Scale: f.timeScale}).Handlers(actions.Canonical())
	case "kube":
		if f.approve == "auto" && !f.yes {
			return c, errors.New("--approve auto lets a plan change a real cluster although nobody has looked at it: say --yes as well")
		}
	case "":
		return c, errors.New("--handlers is required; available are simulated and kube")
	default:
		return c, fmt.Errorf("--handlers %s: available are simulated and kube", f.handlers)
	}
	if !(f.timeScale > 0 && f.timeScale <= maxTimeScale) {
		return c, fmt.Errorf("--time-scale is a number above 0, at most %d", maxTimeScale)
	}
	if err := f.scheduleFlags.apply(&c); err != nil {
		return c, err
	}
	strategy, ok := map[string]executor.RollbackStrategy{
		"automatic": executor.RollbackAutomatic, "manual": executor.RollbackManual, "none": executor.RollbackNone}[f.rollback]
	if c.Rollback = strategy; !ok {
		return c, fmt.Errorf("--rollback %s: it is automatic, manual or none", f.rollback)
	}
	switch f.approve {
	case "auto":
		c.Approver = approval.Auto()
	case "deny":
		c.Approver = approval.Deny()
	case "terminal":
		if file == "-" {
			return c, errors.New("--approve terminal reads answers from standard input, where the plan comes from")
		}
		by, err := f.identity()
		if err != nil {
			return c, err
		}
		c.Approver = terminal.New(a.stdin, a.questions(), by)
	case "":
		if file != "-" && a.terminal != nil && isTerminal(a.stdin) {
			f.approve = "terminal"
			return a.config(f, file)
		}
	default:
		if !channelsOnly(f.approve) {
			return c, fmt.Errorf("--approve %s: it is terminal, auto or deny, or some of web, slack, email and cluster with commas between them", f.approve)
		}
	}
	return c, nil
}

// connect gives a Config the handlers of a cluster, when it has none yet.
func (a *app) connect(ctx context.Context, f *conductFlags, config *executor.Config) error {
	if config.Handlers != nil {
		return nil
	}
	dir, err := f.folder()
	if err != nil {
		return err
	}
	_, config.Handlers, err = a.cluster(ctx, &f.clusterFlags, dir)
	return err
}

// identity is who answers at the terminal.
func (f *conductFlags) identity() (string, error) {
	by := f.by
	if u, err := user.Current(); by == "" && err == nil {
		by = u.Username
	}
	if by = cmp.Or(by, os.Getenv("USER")); by == "" {
		return "", errors.New("--by is required: the system does not know your user name")
	}
	return by, nil
}

// questions is where a person is asked: not where a program reads.
func (a *app) questions() io.Writer {
	if a.terminal != nil && !a.json() {
		return a.stdout
	}
	return a.stderr
}

func isTerminal(r any) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// A progress shows a run while it goes on. It is closed when the run has ended or is parked, and shows nothing after that.
type progress interface {
	executor.Observer
	// begin is called when the run has started.
	begin(*executor.Run)
	// interrupted is called when the run is told to end.
	interrupted()
	// aside keeps out of the way while ask uses the terminal.
	aside(ask func())
	close(*executor.Report)
}

func (a *app) runPlan(cmd *cobra.Command, f *runFlags, file string) error {
	config, err := a.config(&f.conductFlags, file)
	if err != nil {
		return usage(cmd, "%w", err)
	}
	l, err := a.load(cmd.Context(), &f.planFlags, file)
	if err != nil {
		return err
	}
	if err := a.connect(cmd.Context(), &f.conductFlags, &config); err != nil {
		return err
	}
	options := executor.RunOptions{ID: f.id, Author: author, Confidence: f.confidence.Confidence}
	if options.Incident, err = a.readIncident(cmd.Context(), f.incident); err != nil {
		return err
	}
	if f.dryRun {
		return a.rehearse(cmd.Context(), config, l, options)
	}
	return a.conduct(cmd, &f.conductFlags, config, l, func(ctx context.Context, ex *executor.Executor) (*executor.Run, error) {
		return ex.Start(ctx, l.plan, options)
	})
}

// readIncident reads what the plan is to mend; none is no file.
func (a *app) readIncident(ctx context.Context, name string) (*approval.Incident, error) {
	if name == "" {
		return nil, nil
	}
	data, err := a.readSettings(ctx, name)
	if err != nil {
		return nil, err
	}
	i := &approval.Incident{}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(i); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return i, nil
}

// conduct conducts a run to its end, or until it is parked, and shows it.
func (a *app) conduct(cmd *cobra.Command, f *conductFlags, config executor.Config, l *loaded,
	start func(ctx context.Context, ex *executor.Executor) (*executor.Run, error)) error {
	files, err := f.open()
	if err != nil {
		return err
	}
	defer files.Close()
	config.Journal, config.Policy = files, l.policy
	show := a.progress(l, f)
	config.Observers = []executor.Observer{show}
	if f.approve == "terminal" {
		config.Approver = a.askAside(config.Approver, show)
	}
	remote := f.approve != "" && channelsOnly(f.approve)
	var d *desk
	if remote {
		if d, err = a.desk(cmd.Context(), f); err != nil {
			return err
		}
		defer d.close()
		d.aside = show.aside
		config.Approver, config.Observers = d.approver, append(config.Observers, d.observers...)
	}
	ex, err := executor.New(config)
	if err != nil {
		return err
	}
	if remote {
		d.open(ex)
	}
	ctx := cmd.Context() // a parked run ends with the program, and is not interrupted: it waits in the journal
	run, err := start(ctx, ex)
	if err != nil {
		return err
	}
	show.begin(run)
	told := make(chan struct{})
	stop := context.AfterFunc(cmd.Context(), func() {
		defer close(told)
		show.interrupted()
	})
	report, err := run.Wait(context.WithoutCancel(ctx))                // an interrupted run ends by itself
	if remote && err == nil && report.Status() == executor.RunParked { // people are asked from here
		<-run.Done()
		report, err = run.Wait(context.WithoutCancel(ctx))
	}
	if !stop() {
		<-told
	}
	if err != nil {
		return err
	}
	show.close(report)
	if a.json() {
		if err := json.NewEncoder(a.stdout).Encode(map[string]*executor.Report{"report": report}); err != nil {
			return err
		}
	} else {
		a.writeSummary(l, report)
	}
	return outcome(report.Status())
}

// askAside keeps the progress out of the way while a question stands at the terminal.
func (a *app) askAside(ask approval.Approver, show progress) approval.Approver {
	return approval.ApproverFunc(func(ctx context.Context, req *approval.Request) (d *approval.Decision, err error) {
		show.aside(func() {
			d, err = ask.Approve(ctx, req)
			if ctx.Err() != nil {
				fmt.Fprintln(a.questions()) // leaves the line of a question that nobody answered
			}
		})
		return d, err
	})
}

func (a *app) progress(l *loaded, f *conductFlags) progress {
	switch {
	case a.json():
		return &jsonLines{w: a.stdout}
	case a.terminal != nil:
		return newLive(a, l, f.timeScale)
	}
	return &textLines{w: a.stdout, stderr: a.stderr, l: l, scale: f.timeScale}
}

// writeSummary says how a run ended, and why when it did not succeed.
func (a *app) writeSummary(l *loaded, r *executor.Report) {
	counts := map[executor.Status]int{}
	var waited time.Duration
	for s := range r.Steps() {
		counts[s.Status]++
		waited += approvalWait(s)
	}
	word := a.color.red
	switch r.Status() {
	case executor.RunSucceeded:
		word = a.color.green
	case executor.RunSucceededWithWarnings, executor.RunParked, executor.RunInterrupted:
		word = a.color.yellow
	}
	line := fmt.Sprintf("run %s %s after %s", printable(r.Run()), word(words(string(r.Status()))), short(r.Makespan()))
	if waited >= 100*time.Millisecond {
		line += fmt.Sprintf(" (%s of it waiting for approval)", short(waited))
	}
	fmt.Fprintf(a.stdout, "%s: %s\n", line, countsText(counts))
	for s := range r.Steps() {
		switch s.Status {
		case executor.Failed, executor.Rejected, executor.Unknown, executor.RollbackFailed:
			fmt.Fprintf(a.stdout, "  %s %s\n", title(l.plan.Step(s.Number-1)), why(r, s))
		}
	}
	for _, q := range r.Waiting() {
		who := "the plan as a whole"
		if q.Step != nil {
			who = title(q.Step)
		}
		fmt.Fprintf(a.stdout, "  %s waits for approval: %s\n", who, printable(strings.Join(q.Gate.Reasons, "; ")))
	}
	if left := r.Irreversible(); len(left) > 0 && r.Status() != executor.RunParked {
		fmt.Fprintf(a.stdout, "  cannot be undone: %s\n", strings.Join(left, ", "))
	}
	switch r.Status() {
	case executor.RunParked:
		for _, q := range r.Waiting() {
			step := "plan"
			if q.Step != nil {
				step = q.Step.ID()
			}
			fmt.Fprintf(a.stdout, "  to decide: remedy approve %s %s --by NAME, or remedy reject %[1]s %[2]s --by NAME --reason …\n", r.Run(), step)
		}
		fmt.Fprintf(a.stdout, "  then: remedy resume %s --handlers …\n", r.Run())
	case executor.RunInterrupted:
		fmt.Fprintf(a.stdout, "  nothing was rolled back; it goes on with: remedy resume %s --handlers …\n", r.Run())
	case executor.RunFailed, executor.RunRejected, executor.RunCancelled, executor.RunRollbackFailed:
		if plan := r.RollbackPlan(); len(plan) > 0 {
			fmt.Fprintf(a.stdout, "  %s can be undone: remedy rollback %s --handlers …\n", count(len(plan), "step"), r.Run())
		}
	}
}
