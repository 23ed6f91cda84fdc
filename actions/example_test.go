package actions_test

import (
	"context"
	"fmt"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// An action of one's own: the struct gives the Spec its parameters, and the handler gets them decoded.
func Example() {
	type params struct {
		Zone string        `json:"zone" kind:"Zone" validate:"required" doc:"The zone whose cache is flushed."`
		Wait time.Duration `json:"wait" validate:"max=1m" default:"5s"`
	}
	spec, err := actions.SpecOf[params](actions.Spec{
		Name:      "flush_cdn_cache",
		Does:      "Flushes the cache of a zone.",
		RiskFloor: schema.RiskLow,
		Effect:    actions.External,
		Timeout:   time.Minute,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	registry := actions.Canonical()
	if err := registry.Add(spec); err != nil {
		fmt.Println(err)
		return
	}
	flush := actions.Typed(func(ctx context.Context, req *actions.Request, p params) (*actions.Result, error) {
		return &actions.Result{Message: fmt.Sprintf("flushed %s within %v", p.Zone, p.Wait)}, nil
	})

	doc := &schema.Document{Recommendations: []schema.Recommendation{
		{ID: "rec-001", Action: "flush-cdn-cache", Parameters: map[string]any{"zone": "shop"}},
	}}
	found, _ := registry.Resolve(doc.Recommendations[0].Action)
	step := found.Resolve(doc, 0, "")
	result, err := flush.Execute(context.Background(), &actions.Request{Task: &actions.Task{Action: found.Name, Parameters: step.Parameters, Target: step.Target}})
	fmt.Println(found.Title, "of", step.Target)
	fmt.Println(result.Message, err)
	// Output:
	// Flush Cdn Cache of Zone shop
	// flushed shop within 5s <nil>
}

func ExampleHandlerFunc() {
	handlers := actions.Handlers{
		"cordon_node": actions.HandlerFunc(func(ctx context.Context, req *actions.Request) (*actions.Result, error) {
			return &actions.Result{Message: "cordoned " + req.Parameters.String("node")}, nil
		}),
	}
	req := &actions.Request{Task: &actions.Task{Action: "cordon_node", Parameters: actions.NewParameters(map[string]any{"node": "worker-3"})}}
	result, err := handlers[req.Action].Execute(context.Background(), req)
	fmt.Println(result.Message, err)
	// Output: cordoned worker-3 <nil>
}

func ExampleRegistry_Nearest() {
	fmt.Println(actions.Canonical().Nearest("restart_database"))
	// Output: [repair_database restart_daemonset]
}
