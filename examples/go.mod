module github.com/remedykit/remedy/examples

go 1.26

require (
	github.com/remedykit/remedy v0.0.0
	github.com/spf13/cobra v1.10.2
	github.com/stretchr/testify v1.12.1
	golang.org/x/sys v0.47.0
	golang.org/x/term v0.45.0
	sigs.k8s.io/yaml v1.6.0
)

replace github.com/remedykit/remedy => ../
