module github.com/remedykit/remedy/approval/channels

go 1.26.0

require github.com/remedykit/remedy v0.0.0

replace github.com/remedykit/remedy => ../..
