package actions_test

import (
	"context"
	"strconv"
	"sync"
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
	image := map[string]any{"tag": "v1"}
	object := map[string]any{"replicas": 3, "image": image}
	req.World().Predict(cart, object)
	object["replicas"], image["tag"] = 5, "v2"
	seen, ok := req.World().Object(cart)
	require.True(t, ok)
	require.Equal(t, map[string]any{"replicas": int64(3), "image": map[string]any{"tag": "v1"}}, seen, "what is predicted is a copy, all the way down")
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

func TestAWorldIsSafeForConcurrentUse(t *testing.T) {
	var world actions.World
	shared := schema.Target{Kind: "Pod", Name: "shared"}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			own := schema.Target{Kind: "Pod", Name: strconv.Itoa(i)}
			world.Predict(own, map[string]any{"labels": map[string]any{"of": own.Name}})
			world.Predict(shared, map[string]any{"labels": map[string]any{"of": own.Name}})
			world.Object(shared)
		})
	}
	wg.Wait()
	for i := range 8 {
		object, ok := world.Object(schema.Target{Kind: "Pod", Name: strconv.Itoa(i)})
		require.True(t, ok)
		require.Equal(t, map[string]any{"labels": map[string]any{"of": strconv.Itoa(i)}}, object)
	}
	_, ok := world.Object(shared)
	require.True(t, ok)
}
