package bench

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/schema"
)

func itoa(n int) string { return strconv.Itoa(n) }

// BenchmarkMakespan compares how long plans take under a limit when the step with the longest remaining path goes
// first, as the executor has it, and when the first ready goes first. fifo/ours above 1 is time saved.
func BenchmarkMakespan(b *testing.B) {
	ex, err := executor.New(executor.Config{
		Handlers: actions.Handlers{"nothing": actions.HandlerFunc(func(context.Context, *actions.Request) (*actions.Result, error) { return nil, nil })}, MaxParallel: 4,
		Policy: &approval.Policy{Table: []approval.Row{{}}, MaxSteps: -1},
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range []shape{
		{"random-200", func() [][]int { return random(200, 2) }},
		{"layers-20x10", func() [][]int { return layers(20, 10, 3) }},
		{"leaves-and-chains", leavesAndChains},
	} {
		b.Run(s.name, func(b *testing.B) {
			var ours, fifo time.Duration
			r := rand.New(rand.NewPCG(5, 6))
			graphs := make([]*dag.Plan, 60)
			for i := range graphs {
				graphs[i] = timed(b, s.deps(), r)
			}
			for b.Loop() {
				ours, fifo = 0, 0
				for _, p := range graphs {
					sim, err := ex.Simulate(p, executor.SimulateOptions{})
					if err != nil {
						b.Fatal(err)
					}
					ours += sim.Makespan()
					fifo += firstReadyFirst(p, 4)
				}
			}
			b.ReportMetric(float64(fifo)/float64(ours), "fifo/ours")
		})
	}
}

// leavesAndChains is 60 single steps before chains of 40, 20, 10 and 5.
func leavesAndChains() [][]int {
	deps := make([][]int, 60)
	for _, n := range []int{40, 20, 10, 5} {
		deps = append(deps, nil)
		for range n - 1 {
			deps = append(deps, []int{len(deps) - 1})
		}
	}
	return deps
}

// timed makes a plan whose durations are drawn from an exponential distribution around a minute.
func timed(tb testing.TB, deps [][]int, r *rand.Rand) *dag.Plan {
	reg := &actions.Registry{}
	if err := reg.Add(actions.Spec{Name: "nothing", Effect: actions.Reads, Timeout: 24 * time.Hour}); err != nil {
		tb.Fatal(err)
	}
	doc := &schema.Document{}
	overlay := &schema.Overlay{Steps: map[string]schema.StepOverlay{}}
	for i, ds := range deps {
		rec := schema.Recommendation{ID: "s" + itoa(i), Action: "nothing"}
		for k, d := range ds {
			if k == 0 || d != ds[0] {
				rec.Dependencies = append(rec.Dependencies, "s"+itoa(d))
			}
		}
		overlay.Steps[rec.ID] = schema.StepOverlay{Duration: time.Duration(r.ExpFloat64()*float64(time.Minute)) + 1}
		doc.Recommendations = append(doc.Recommendations, rec)
	}
	p, err := dag.Build(doc, reg, dag.WithOverlay(overlay))
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// firstReadyFirst is the makespan when steps start in the order in which they became ready.
func firstReadyFirst(p *dag.Plan, limit int) time.Duration {
	g := p.Graph()
	unmet := make([]int, g.Len())
	var queue []int
	for i := range unmet {
		if unmet[i] = len(g.Predecessors(i)); unmet[i] == 0 {
			queue = append(queue, i)
		}
	}
	var running ends
	now := time.Duration(0)
	for len(queue) > 0 || len(running) > 0 {
		for len(queue) > 0 && len(running) < limit {
			heap.Push(&running, end{now + p.Step(queue[0]).Duration(), queue[0]})
			queue = queue[1:]
		}
		done := heap.Pop(&running).(end)
		now = done.at
		for _, next := range g.Successors(done.step) {
			if unmet[next]--; unmet[next] == 0 {
				queue = append(queue, int(next))
			}
		}
	}
	return now
}

type end struct {
	at   time.Duration
	step int
}

type ends []end

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].at < e[j].at }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(x any)        { *e = append(*e, x.(end)) }
func (e *ends) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}
