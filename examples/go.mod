module github.com/remedykit/remedy/examples

go 1.26

require (
	github.com/remedykit/remedy v0.0.0
	github.com/spf13/cobra v1.10.2
	golang.org/x/term v0.45.0
)

replace github.com/remedykit/remedy => ../
