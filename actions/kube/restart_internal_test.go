package kube

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/schema"
)

// An API server has maxUnavailable of a StatefulSet only with a feature gate.
func TestAStatefulSetMayReplaceSeveralPodsAtATime(t *testing.T) {
	db := schema.Target{Kind: "StatefulSet", Namespace: "shop", Name: "db"}
	with := func(most any) object {
		return object{"spec": map[string]any{"replicas": int64(5), "updateStrategy": map[string]any{"rollingUpdate": map[string]any{"maxUnavailable": most}}}}
	}
	require.NoError(t, oneAtATime(db, with(nil)))
	require.NoError(t, oneAtATime(db, with(int64(1))))
	require.NoError(t, oneAtATime(db, with("30%")))
	require.ErrorContains(t, oneAtATime(db, with(int64(2))), "replaces 2 pods at a time")
	require.ErrorContains(t, oneAtATime(db, with("50%")), "replaces 2 pods at a time")
}
