package approval_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
)

func TestAnOutcomeSaysWhoAndWhy(t *testing.T) {
	for want, s := range map[string]approval.Standing{
		"":                                  {State: approval.Open, Votes: []approval.Vote{{By: "ann"}}},
		"Approved by ann: fine":             {State: approval.Granted, By: "ann", Reason: "fine", Votes: []approval.Vote{{By: "ann"}}},
		"Approved by bob, ann":              {State: approval.Granted, By: "ann", Votes: []approval.Vote{{By: "bob"}, {By: "ann"}}},
		"Rejected by eve<U+202E>: a  b":     {State: approval.Denied, By: "eve\u202e", Reason: "a\n\tb"},
		"Rejected: nobody could be reached": {State: approval.Denied, Reason: "nobody could be reached"},
		"Expired, which means no: nobody answered in time": {State: approval.Expired, Reason: "nobody answered in time"},
		"No answer is needed any more: the run has ended":  {State: approval.Withdrawn, Reason: "the run has ended"},
	} {
		require.Equal(t, want, s.Outcome())
	}
}
