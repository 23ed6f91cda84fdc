package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
)

// journalFlags say where runs are kept.
type journalFlags struct{ journal string }

func (f *journalFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.journal, "journal", "", "`folder` of the journal; remedy under $XDG_STATE_HOME without it")
}

// existing opens a journal to read it. A folder that was named and is not there is a mistake.
func (f *journalFlags) existing() (*journal.Files, error) {
	if f.journal != "" {
		if _, err := os.Stat(f.journal); err != nil {
			return nil, fmt.Errorf("--journal: %w", err)
		}
	}
	return f.open()
}

// open opens the journal, and makes its folder.
func (f *journalFlags) open() (*journal.Files, error) {
	dir, err := f.folder()
	if err != nil {
		return nil, err
	}
	return journal.Open(dir, journal.Options{})
}

// folder is where the journal is.
func (f *journalFlags) folder() (string, error) {
	if f.journal != "" {
		return f.journal, nil
	}
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("--journal is required: %w", err)
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "remedy"), nil
}

// history reads a run from the journal.
func (f *journalFlags) history(ctx context.Context, run string) (*executor.History, error) {
	files, err := f.existing()
	if err != nil {
		return nil, err
	}
	defer files.Close()
	h, err := executor.Replay(ctx, files, run, actions.Canonical())
	return h, unknown(ctx, files, run, err)
}

// unknown adds the runs that there are to the error for a run that there is not.
func unknown(ctx context.Context, j journal.Journal, run string, err error) error {
	if !errors.Is(err, executor.ErrUnknownRun) {
		return err
	}
	heads, _ := j.Runs(ctx)
	for i, h := range heads {
		if i == 0 {
			err = fmt.Errorf("%w; the last are", err)
		}
		if i < 3 {
			err = fmt.Errorf("%w %s", err, h.First.Run)
		}
	}
	return err
}

// oneRun refuses other arguments than one run.
func oneRun(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage(cmd, "%s needs one RUN", cmd.Name())
	}
	return nil
}

// runAndStep refuses other arguments than a run and a step.
func runAndStep(cmd *cobra.Command, args []string) error {
	if len(args) != 2 {
		return usage(cmd, "%s needs a RUN and a STEP", cmd.Name())
	}
	return nil
}

// journalled is what the commands that show a run know of a plan.
func (a *app) journalled(h *executor.History) *loaded {
	return &loaded{file: "run " + h.Report.Run(), plan: h.Plan, gates: h.Gates, policy: h.Policy, registry: actions.Canonical(), began: h.StartedAt}
}
