package approval_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
)

func TestVerdictsHaveWordsAndTheZeroVerdictIsNone(t *testing.T) {
	var zero approval.Verdict
	require.Equal(t, "none", zero.String())
	require.Equal(t, "approved", approval.Approved.String())
	require.Equal(t, "rejected", approval.Rejected.String())
	require.Equal(t, "pending", approval.Pending.String())
	require.Equal(t, "none", approval.Verdict(99).String())
}

func TestAutoApprovesAndDenyRejectsInTheirOwnNames(t *testing.T) {
	yes, err := approval.Auto().Approve(t.Context(), &approval.Request{})
	require.NoError(t, err)
	require.Equal(t, &approval.Decision{Verdict: approval.Approved, By: "auto"}, yes)
	no, err := approval.Deny().Approve(t.Context(), &approval.Request{})
	require.NoError(t, err)
	require.Equal(t, approval.Rejected, no.Verdict)
	require.NotEmpty(t, no.By)
	require.NotEmpty(t, no.Reason)
}
