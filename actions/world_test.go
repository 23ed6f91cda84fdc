package actions_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

type rehearsing struct{ world actions.World }

func (r *rehearsing) Begin(context.Context, *actions.Request, *actions.Undo) error { return nil }
func (r *rehearsing) World() *actions.World                                        { return &r.world }

func TestAWorldShowsLaterStepsWhatEarlierOnesWouldHaveDone(t *testing.T) {
	cart := schema.Target{Kind: "Deployment", Namespace: "shop", Name: "cart"}
	req := &actions.Request{Conductor: &rehearsing{}}
	_, ok := req.World().Object(cart)
	require.False(t, ok)
	object := map[string]any{"replicas": 3}
	req.World().Predict(cart, object)
	object["replicas"] = 5
	seen, ok := req.World().Object(cart)
	require.True(t, ok)
	require.EqualValues(t, 3, seen["replicas"], "what is predicted is a copy")
	req.World().Predict(cart, nil)
	seen, ok = req.World().Object(cart)
	require.True(t, ok)
	require.Nil(t, seen, "it would be deleted")
}

func TestOutsideOfADryRunThereIsNoWorld(t *testing.T) {
	req := &actions.Request{}
	req.World().Predict(schema.Target{Kind: "Pod", Name: "p"}, map[string]any{})
	_, ok := req.World().Object(schema.Target{Kind: "Pod", Name: "p"})
	require.False(t, ok)
}
