module github.com/remedykit/remedy

go 1.26
