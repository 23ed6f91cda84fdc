package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
)

func (a *app) verifyCommand() *cobra.Command {
	var f journalFlags
	cmd := &cobra.Command{
		Use:     "verify RUN",
		Short:   "Check that nobody changed a run's journal",
		Long:    "verify checks the hash chain of a run's records and names the first that was changed. It cannot see that records\nwere cut off the end.",
		Example: "  remedy verify run-20260102-030405-abcdefghij",
		Args:    oneRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := f.existing()
			if err != nil {
				return err
			}
			defer files.Close()
			records, err := files.Read(cmd.Context(), args[0])
			if errors.Is(err, journal.ErrUnknownRun) {
				return unknown(cmd.Context(), files, args[0], fmt.Errorf("%w: %s", executor.ErrUnknownRun, args[0]))
			}
			if err == nil {
				err = journal.Verify(records)
			}
			broken, isBroken := errors.AsType[*journal.BrokenError](err)
			if err != nil && !isBroken {
				return err
			}
			if a.json() {
				out := map[string]any{"run": args[0], "ok": err == nil, "records": len(records)}
				if isBroken {
					out["record"], out["message"] = broken.Seq, broken.Error()
				}
				if err := writeJSON(a.stdout, out); err != nil {
					return err
				}
			} else if err == nil {
				fmt.Fprintf(a.stdout, "%s: %s, the chain is whole\n", printable(args[0]), count(len(records), "record"))
			} else {
				fmt.Fprintf(a.stdout, "%s\n", printable(broken.Error()))
			}
			if isBroken {
				return &exit{code: exitFailed}
			}
			return nil
		},
	}
	f.add(cmd)
	return cmd
}
