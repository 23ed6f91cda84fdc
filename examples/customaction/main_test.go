package main

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
)

func TestApprovedFlushRemovesTheKeysOfThePrefix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		approver := approval.ApproverFunc(func(_ context.Context, req *approval.Request) (*approval.Decision, error) {
			asked = append(asked, req.Step.ID())
			return onCall(context.Background(), req)
		})
		var out bytes.Buffer
		require.NoError(t, run(t.Context(), &out, approver))
		require.Equal(t, []string{"flush"}, asked, "the policy raises the risk of flush_cache and of nothing else")
		require.Contains(t, out.String(), "2 flush  succeeded, approved by on-call: only a part of the cache goes, removed 2 of 3 keys\n")
		require.Contains(t, out.String(), "3 verify succeeded")
	})
}

func TestRejectedFlushFailsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		require.ErrorContains(t, run(t.Context(), &out, approval.Deny()), "rejected")
		require.Contains(t, out.String(), "2 flush  rejected, rejected by deny")
		require.Contains(t, out.String(), "3 verify blocked")
	})
}
