package executor_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
)

// instant takes no time, so that no process ends while its outcome is unknown.
type instant struct{ *thing }

func (i instant) Execute(context.Context, *actions.Request) (*actions.Result, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.done = append(i.done, i.version)
	return nil, nil
}

// Clicks, time-outs, restarts, a second replica, and an object that changes, in any order: the effect is sent once at most, only
// when as many distinct people as needed said yes to what the object was then, never by a yes of the author or the model, and
// silence is no.
func TestNoOrderOfEventsLetsAnythingPassUnapproved(t *testing.T) {
	people := []string{"author", "gpt", "ann", "bob", "carol"}
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(*testing.T) {
			quorum := rapid.IntRange(1, 3).Draw(rt, "quorum")
			h, d, j := &thing{version: 1}, &desk{}, journal.NewMemory()
			policy := panel(quorum)
			config := executor.Config{Handlers: handlersOf(instant{h}), Policy: policy, Approver: d, Journal: j, EarlyApproval: rapid.Bool().Draw(rt, "early")}
			lines := []string{"z look ~3m", "a fix(x) <- z ~1s +gate"}
			p := plan(rt, lines...)
			background := context.Background()
			var run *executor.Run
			var ex *executor.Executor
			var interrupt context.CancelFunc
			start := func() {
				var ctx context.Context
				ctx, interrupt = context.WithCancel(background)
				ex, _ = executor.New(config)
				var err error
				run, err = ex.Start(ctx, p, executor.RunOptions{ID: "r", Author: "author", Model: "gpt"})
				require.NoError(rt, err)
				synctest.Wait()
			}
			start()
			said := map[string]map[string]int{} // who said yes, by digest, and how often the object had been set then
			basis := map[string]string{}        // the version that a digest is about
			denied, sets := false, 0
			for range rapid.IntRange(1, 25).Draw(rt, "events") {
				switch rapid.IntRange(0, 9).Draw(rt, "event") {
				case 0:
					sets++
					h.set(rapid.IntRange(1, 3).Draw(rt, "version"))
				case 1, 2:
					time.Sleep(time.Duration(rapid.IntRange(1, 400).Draw(rt, "seconds")) * time.Second)
					synctest.Wait()
				case 3:
					interrupt()
					<-run.Done()
					start()
				default:
					questions := d.questions()
					if len(questions) == 0 {
						continue
					}
					q := questions[rapid.IntRange(0, len(questions)-1).Draw(rt, "question")]
					basis[q.Digest] = q.Preview.Basis["version"]
					c := approval.Decision{
						Verdict: rapid.SampledFrom([]approval.Verdict{approval.Approved, approval.Approved, approval.Approved, approval.Approved, approval.Rejected}).Draw(rt, "verdict"),
						By:      rapid.SampledFrom(people).Draw(rt, "by"), Digest: q.Digest,
					}
					at := ex
					if parked := rapid.IntRange(0, 9).Draw(rt, "elsewhere") == 0; parked {
						interrupt()
						<-run.Done()
						at, _ = executor.New(config)
					}
					if err := at.Decide(background, "r", "a", c); err == nil {
						require.NotContains(rt, []string{"author", "gpt"}, c.By)
						if c.Verdict == approval.Rejected {
							denied = true
						} else {
							if said[q.Digest] == nil {
								said[q.Digest] = map[string]int{}
							}
							before, ok := said[q.Digest][c.By]
							require.False(rt, ok && before == sets, "%s was counted twice", c.By) // what was another in between is asked anew
							said[q.Digest][c.By] = sets
						}
					}
					if at != ex {
						start()
					}
					synctest.Wait()
				}
			}
			time.Sleep(time.Hour)
			<-run.Done()
			interrupt()
			require.LessOrEqual(rt, len(h.done), 1)
			enough := map[string]bool{}
			for digest, by := range said {
				if len(by) >= quorum {
					enough[basis[digest]] = true
				}
			}
			if len(h.done) == 1 {
				require.True(rt, enough[fmt.Sprint(h.done[0])], "version %d: %v %v", h.done[0], said, basis)
				require.False(rt, denied)
			} else {
				require.NotEqual(rt, executor.RunSucceeded, run.Snapshot().Status())
			}
			_, err := executor.Replay(background, j, "r", registry(rt))
			require.NoError(rt, err)
		})
	})
}
