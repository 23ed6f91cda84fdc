// Command remedy checks, draws, simulates and runs remediation plans.
//
// Everything it does is a few lines over the public API of github.com/remedykit/remedy. Its machine outputs (-o json)
// keep their field names.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// The exit codes.
const (
	exitOK          = 0
	exitFailed      = 1 // the plan has problems, or the run did not succeed
	exitUsage       = 2 // wrong usage, or something that cannot be reached
	exitParked      = 3 // the run waits for a decision
	exitInterrupted = 130
)

// An exit is an error that knows its exit code. Without an error all has been said already.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// failed is an error that means exitFailed. All other errors mean exitUsage, which needs no wrapping.
func failed(err error) error { return &exit{code: exitFailed, err: err} }

// run runs the command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	out, errs := &output{w: stdout}, &output{w: stderr}
	a := &app{stdin: stdin, stdout: out, stderr: errs, terminal: terminalOf(stdout), color: newPalette(stdout)}
	root := a.rootCommand()
	root.SetArgs(append([]string{}, args...)) // never nil, for which cobra takes the arguments of the process
	root.SetIn(stdin)
	root.SetOut(out)
	root.SetErr(errs)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil && out.err != nil {
		err = fmt.Errorf("cannot write to standard output: %w", out.err)
	}
	if err == nil {
		return exitOK
	}
	code := exitUsage
	if e, ok := errors.AsType[*exit](err); ok {
		code = e.code
		err = e.err
	} else if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		code, err = exitInterrupted, errors.New("interrupted")
	}
	if err != nil {
		fmt.Fprintf(errs, "%s: %s\n", cmd.CommandPath(), printableLines(err.Error()))
	}
	return code
}

// An app is one call of the program: where it reads and writes, and how.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// terminal is stdout when that is a terminal, else nil.
	terminal *os.File
	color    palette
	format   string // text or json
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "remedy",
		Short: "Check, draw, simulate and run remediation plans",
		Long: `remedy turns the recommendations of an incident analysis into a checked plan and runs it.

A FILE is a recommendations document (JSON) or a WorkflowExecution manifest (YAML); "-" is standard input.`,
		Example: `  remedy validate plan.json
  remedy graph plan.json --confidence 0.85
  remedy run plan.json --handlers simulated --time-scale 0.02`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return usage(cmd, "unknown command %q%s", args[0], didYouMean(cmd.SuggestionsFor(args[0])))
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if a.format != "text" && a.format != "json" {
				return usage(cmd, "-o %s: the outputs are text and json", a.format)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SuggestionsMinimumDistance = 2
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetHelpCommand(helpCommand())
	root.PersistentFlags().StringVarP(&a.format, "output", "o", "text", "text or json")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, "%w", err) })
	root.AddCommand(a.validateCommand(), a.graphCommand(), a.planCommand(), a.simulateCommand(), a.runCommand(),
		a.workflowCommand(), a.actionsCommand(), a.runsCommand(), a.showCommand(), a.resumeCommand(), a.rollbackCommand(),
		a.whyCommand(), a.verifyCommand(), a.approvalsCommand(), a.approveCommand(), a.rejectCommand(), a.rbacCommand(), a.policyCommand())
	return root
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Explain a command",
		Example: "  remedy help run",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usage(cmd, "unknown command %q", strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// json tells whether machine output is asked for.
func (a *app) json() bool { return a.format == "json" }

// usage is an error about how the program was called.
func usage(cmd *cobra.Command, format string, args ...any) error {
	return fmt.Errorf(format+"; see %q", append(args, cmd.CommandPath()+" --help")...)
}

// oneFile accepts exactly one argument, a FILE.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage(cmd, "give one FILE (\"-\" for standard input), not %d", len(args))
	}
	return nil
}

// someFiles accepts one or more FILEs.
func someFiles(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usage(cmd, "give at least one FILE (\"-\" for standard input)")
	}
	if i := slices.Index(args, "-"); i >= 0 && slices.Contains(args[i+1:], "-") {
		return usage(cmd, "standard input can be read only once")
	}
	return nil
}
