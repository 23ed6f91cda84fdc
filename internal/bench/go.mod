module github.com/remedykit/remedy/internal/bench

go 1.26

require (
	github.com/remedykit/remedy v0.0.0
	golang.org/x/sync v0.22.0
)

replace github.com/remedykit/remedy => ../../
