package terminal_test

import (
	"os"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/terminal"
)

// Questions go to standard error, so that standard output can hold the report.
func ExampleNew() {
	var approver approval.Approver = terminal.New(os.Stdin, os.Stderr, os.Getenv("USER"))
	_ = approver // executor.Config{Approver: approver}
}
