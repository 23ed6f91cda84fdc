package limits_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/executor/limits"
	"github.com/remedykit/remedy/schema"
)

// onEachStore runs a test in a bubble for each kind of store.
func onEachStore(t *testing.T, test func(t *testing.T, s limits.Store)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, limits.NewMemory()) })
	})
	t.Run("files", func(t *testing.T) {
		s := openFiles(t, t.TempDir())
		synctest.Test(t, func(t *testing.T) { test(t, s) })
	})
}

func newLimits(t *testing.T, s limits.Store, r limits.Rules) *limits.Limits {
	t.Helper()
	l, err := limits.New(s, r)
	require.NoError(t, err)
	return l
}

func deployment(name string) schema.Target {
	return schema.Target{Kind: "Deployment", Namespace: "shop", Name: name}
}

// restart is what a step of a run is about to do to a Deployment.
func restart(run, step, name string) limits.Effect {
	return limits.Effect{Run: run, Step: step, Action: "restart", Target: deployment(name)}
}

func admit(t *testing.T, l *limits.Limits, e limits.Effect) {
	t.Helper()
	require.NoError(t, l.Admit(t.Context(), e))
}

func ended(t *testing.T, l *limits.Limits, e limits.Effect, took, ok bool) {
	t.Helper()
	require.NoError(t, l.Ended(t.Context(), e, took, ok))
}

func refused(t *testing.T, l *limits.Limits, e limits.Effect, by limits.Rule) *limits.Refusal {
	t.Helper()
	err := l.Admit(t.Context(), e)
	refusal, ok := errors.AsType[*limits.Refusal](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, by, refusal.Rule, refusal.Message)
	return refusal
}

func TestFiftyAtOnceStayWithinTheBudgetAndItIsFreeAgainAfterTheWindow(t *testing.T) {
	onEachStore(t, func(t *testing.T, s limits.Store) {
		l := newLimits(t, s, limits.Rules{Effects: 5, Window: 5 * time.Minute})
		for round := range 2 {
			var admitted, budget atomic.Int64
			var all sync.WaitGroup
			for i := range 50 {
				all.Go(func() {
					e := restart(fmt.Sprintf("run-%d-%d", round, i), "s", fmt.Sprintf("d-%d-%d", round, i))
					for range 4 { // at the begin, and three times within the window
						err := l.Admit(t.Context(), e)
						if err == nil {
							admitted.Add(1)
							if err := l.Ended(t.Context(), e, true, true); err != nil {
								t.Error(err)
							}
							return
						}
						if refusal, ok := errors.AsType[*limits.Refusal](err); ok && refusal.Rule == limits.RuleBudget {
							budget.Add(1)
						} else {
							t.Error(err)
						}
						time.Sleep(time.Minute)
					}
				})
			}
			all.Wait()
			require.EqualValues(t, 5, admitted.Load())
			require.EqualValues(t, 45*4, budget.Load(), "all others were told that the budget is used up")
			time.Sleep(5 * time.Minute)
		}
	})
}

func TestTheWindowSlidesAndTheRefusalSaysWhenAPlaceIsFree(t *testing.T) {
	onEachStore(t, func(t *testing.T, s limits.Store) {
		l := newLimits(t, s, limits.Rules{Effects: 2, Window: 10 * time.Minute})
		begin := time.Now()
		admit(t, l, restart("a", "s", "a"))
		time.Sleep(4 * time.Minute)
		admit(t, l, restart("b", "s", "b"))
		refusal := refused(t, l, restart("c", "s", "c"), limits.RuleBudget)
		require.WithinDuration(t, begin.Add(10*time.Minute), refusal.Until, 0)
		require.Contains(t, refusal.Message, "namespace shop has had 2 effects within 10m0s")
		other := restart("c", "s", "c")
		other.Target.Namespace = "billing"
		admit(t, l, other)
		time.Sleep(time.Until(refusal.Until) - time.Nanosecond)
		refused(t, l, restart("c", "s", "c"), limits.RuleBudget)
		time.Sleep(time.Nanosecond)
		admit(t, l, restart("c", "s", "c"))
		refused(t, l, restart("d", "s", "d"), limits.RuleBudget)
	})
}

func TestTheSameActionOnTheSameTargetWaitsForItsCooldown(t *testing.T) {
	onEachStore(t, func(t *testing.T, s limits.Store) {
		l := newLimits(t, s, limits.Rules{Cooldown: 10 * time.Minute})
		first := restart("a", "s", "web")
		admit(t, l, first)
		refused(t, l, restart("b", "s", "web"), limits.RuleCooldown)
		time.Sleep(time.Minute)
		ended(t, l, first, true, true)
		done := time.Now()
		refusal := refused(t, l, restart("b", "s", "web"), limits.RuleCooldown)
		require.WithinDuration(t, done.Add(10*time.Minute), refusal.Until, 0, "it begins when the effect ended")
		require.Contains(t, refusal.Message, "step s of run a")
		refused(t, l, restart("a", "another", "web"), limits.RuleCooldown)
		scale := restart("b", "s", "web")
		scale.Action = "scale"
		admit(t, l, scale)
		admit(t, l, restart("b", "s", "db"))
		time.Sleep(10*time.Minute - time.Nanosecond)
		refused(t, l, restart("b", "s", "web"), limits.RuleCooldown)
		time.Sleep(time.Nanosecond)
		admit(t, l, restart("b", "s", "web"))
	})
}

func TestWhatTookNoEffectBeginsNoCooldown(t *testing.T) {
	onEachStore(t, func(t *testing.T, s limits.Store) {
		l := newLimits(t, s, limits.Rules{})
		admit(t, l, restart("a", "s", "web"))
		ended(t, l, restart("a", "s", "web"), false, false)
		admit(t, l, restart("b", "s", "web"))
	})
}

func TestWhoNeverSaysHowItWentHoldsATargetForACooldownOnly(t *testing.T) {
	onEachStore(t, func(t *testing.T, s limits.Store) {
		l := newLimits(t, s, limits.Rules{})
		admit(t, l, restart("crashed", "s", "web"))
		refusal := refused(t, l, restart("b", "s", "web"), limits.RuleCooldown)
		time.Sleep(time.Until(refusal.Until))
		admit(t, l, restart("b", "s", "web"))
	})
}

// open fails on a target until the breaker is open.
func open(t *testing.T, l *limits.Limits, failures int) {
	t.Helper()
	for i := range failures {
		e := restart(fmt.Sprint("failed-", i), "s", "web")
		admit(t, l, e)
		ended(t, l, e, false, false)
	}
}

func TestTheBreakerOpensAfterFailuresInARowAndLetsOneThroughAfterItsTime(t *testing.T) {
	for _, rules := range []limits.Rules{
		{BreakerFailures: 3, BreakerOpen: time.Hour},
		{BreakerFailures: 3, BreakerOpen: time.Hour, Cooldown: -1},
	} {
		t.Run(fmt.Sprint("cooldown ", rules.Cooldown), func(t *testing.T) {
			onEachStore(t, func(t *testing.T, s limits.Store) {
				l := newLimits(t, s, rules)
				open(t, l, 3)
				opened := time.Now()
				refusal := refused(t, l, restart("b", "s", "web"), limits.RuleBreaker)
				require.WithinDuration(t, opened.Add(time.Hour), refusal.Until, 0)
				require.Contains(t, refusal.Message, "failed 3 times in a row")
				admit(t, l, restart("b", "s", "db"))
				time.Sleep(time.Hour - time.Nanosecond)
				refused(t, l, restart("b", "s", "web"), limits.RuleBreaker)
				time.Sleep(2 * time.Nanosecond)

				trial := restart("trial", "s", "web")
				admit(t, l, trial)
				second := l.Admit(t.Context(), restart("b", "s", "web"))
				_, ok := errors.AsType[*limits.Refusal](second)
				require.True(t, ok, "only one is let through: %v", second)
				time.Sleep(10 * time.Minute)
				refused(t, l, restart("b", "s", "web"), limits.RuleBreaker)
				ended(t, l, trial, false, false)
				again := time.Now()
				refusal = refused(t, l, restart("b", "s", "web"), limits.RuleBreaker)
				require.WithinDuration(t, again.Add(time.Hour), refusal.Until, 0, "its failure opens it again")

				time.Sleep(time.Hour)
				admit(t, l, trial)
				ended(t, l, trial, false, true)
				open(t, l, 2)
				admit(t, l, restart("b", "s", "web"))
			})
		})
	}
}

func TestAtOnceOnlyOneIsLetThroughABreakerWhoseTimeIsOver(t *testing.T) {
	onEachStore(t, func(t *testing.T, s limits.Store) {
		l := newLimits(t, s, limits.Rules{BreakerFailures: 3, Cooldown: -1})
		open(t, l, 3)
		time.Sleep(limits.DefaultBreakerOpen + time.Second)
		var admitted atomic.Int64
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				if l.Admit(t.Context(), restart(fmt.Sprint(i), "s", "web")) == nil {
					admitted.Add(1)
				}
			})
		}
		all.Wait()
		require.EqualValues(t, 1, admitted.Load())
	})
}

func TestASuccessInBetweenKeepsTheBreakerClosed(t *testing.T) {
	onEachStore(t, func(t *testing.T, s limits.Store) {
		l := newLimits(t, s, limits.Rules{BreakerFailures: 3, Cooldown: -1})
		for range 3 {
			open(t, l, 2)
			admit(t, l, restart("ok", "s", "web"))
			ended(t, l, restart("ok", "s", "web"), true, true)
		}
		admit(t, l, restart("b", "s", "web"))
	})
}

func TestTheSameStepMayAskTwiceAndCountsOnce(t *testing.T) {
	onEachStore(t, func(t *testing.T, s limits.Store) {
		l := newLimits(t, s, limits.Rules{Effects: 2, Workloads: 1})
		e := restart("a", "s", "web")
		admit(t, l, e)
		admit(t, l, e)
		ended(t, l, e, true, false)
		admit(t, l, e)
		admit(t, l, restart("b", "s", "db"))
		refused(t, l, restart("c", "s", "cache"), limits.RuleBudget)
	})
}

func TestWhatTookNoEffectGivesItsPlacesBack(t *testing.T) {
	onEachStore(t, func(t *testing.T, s limits.Store) {
		l := newLimits(t, s, limits.Rules{Effects: 1, Workloads: 1})
		admit(t, l, restart("a", "1", "web"))
		refused(t, l, restart("a", "2", "db"), limits.RuleBudget)
		refused(t, l, restart("b", "1", "db"), limits.RuleBudget)
		ended(t, l, restart("a", "1", "web"), false, false)
		admit(t, l, restart("a", "2", "db"))
		ended(t, l, restart("a", "2", "db"), true, true)
		refused(t, l, restart("b", "1", "cache"), limits.RuleBudget)
		refused(t, l, restart("a", "1", "web"), limits.RuleBudget)
	})
}

func TestARefusalTakesNothing(t *testing.T) {
	onEachStore(t, func(t *testing.T, s limits.Store) {
		l := newLimits(t, s, limits.Rules{Effects: 1, Workloads: 1})
		admit(t, l, restart("a", "s", "web"))
		refused(t, l, restart("b", "s", "db"), limits.RuleBudget)
		ended(t, l, restart("a", "s", "web"), false, true)
		admit(t, l, restart("c", "s", "db"))
		ended(t, l, restart("c", "s", "db"), false, true)
		admit(t, l, restart("b", "s", "cache"))
	})
}

func TestARunTouchesNoMoreThanItMay(t *testing.T) {
	onEachStore(t, func(t *testing.T, s limits.Store) {
		l := newLimits(t, s, limits.Rules{Workloads: 2, Nodes: 1, Pods: 2, Cooldown: -1})
		drain := func(run, step, node string, pods ...string) limits.Effect {
			e := limits.Effect{Run: run, Step: step, Action: "drain", Target: schema.Target{Kind: "Node", Name: node}}
			for _, pod := range pods {
				e.Touches = append(e.Touches, actions.Touch{Target: schema.Target{Kind: "Pod", Namespace: "shop", Name: pod}})
			}
			return e
		}
		admit(t, l, restart("a", "1", "web"))
		admit(t, l, restart("a", "2", "web"))
		admit(t, l, restart("a", "3", "db"))
		refusal := refused(t, l, restart("a", "4", "cache"), limits.RuleBudget)
		require.Contains(t, refusal.Message, "run a would touch 3 workloads, more than 2")
		require.Zero(t, refusal.Until, "waiting does not help")
		admit(t, l, drain("a", "5", "n1", "p1"))
		refused(t, l, drain("a", "6", "n2"), limits.RuleBudget)
		refused(t, l, drain("a", "7", "n1", "p2", "p3"), limits.RuleBudget)
		admit(t, l, drain("a", "8", "n1", "p1", "p2"))
		admit(t, l, drain("b", "1", "n2", "p3"))
		config := limits.Effect{Run: "a", Step: "9", Action: "write", Target: schema.Target{Kind: "ConfigMap", Namespace: "shop", Name: "c"}}
		admit(t, l, config)

		ended(t, l, restart("a", "1", "web"), false, true)
		refused(t, l, restart("a", "4", "cache"), limits.RuleBudget)
		ended(t, l, restart("a", "2", "web"), false, true)
		admit(t, l, restart("a", "4", "cache"))
	})
}

func TestAStepDisturbsNoMoreThanItsShareOfAWorkload(t *testing.T) {
	onEachStore(t, func(t *testing.T, s limits.Store) {
		l := newLimits(t, s, limits.Rules{Share: 0.5, Effects: 2})
		disturb := func(name string, replicas, of int) limits.Effect {
			e := restart("a", name, name)
			e.Touches = []actions.Touch{{Target: e.Target, Replicas: replicas, Of: of}}
			return e
		}
		refusal := refused(t, l, disturb("web", 3, 5), limits.RuleBudget)
		require.Contains(t, refusal.Message, "3 of 5 replicas of Deployment shop/web")
		require.Zero(t, refusal.Until)
		admit(t, l, disturb("web", 2, 4))
		admit(t, l, disturb("unknown", 0, 0))
	})
}

func TestTheKillSwitchForbidsEverythingToAllUntilItIsTakenBack(t *testing.T) {
	onEachStore(t, func(t *testing.T, s limits.Store) {
		l, other := newLimits(t, s, limits.Rules{}), newLimits(t, s, limits.Rules{})
		_, _, _, on, err := l.Killed(t.Context())
		require.NoError(t, err)
		require.False(t, on)
		running := restart("a", "s", "web")
		admit(t, l, running)
		killed := time.Now()
		require.NoError(t, l.Kill(t.Context(), "anna", "the shop is down"))
		time.Sleep(time.Minute)
		require.NoError(t, other.Kill(t.Context(), "ben", "me too"))
		by, reason, since, on, err := other.Killed(t.Context())
		require.NoError(t, err)
		require.True(t, on)
		require.Equal(t, []string{"anna", "the shop is down"}, []string{by, reason}, "the first one counts")
		require.WithinDuration(t, killed, since, 0)
		refusal := refused(t, other, restart("b", "s", "db"), limits.RuleKilled)
		require.Contains(t, refusal.Message, "anna switched everything off")
		require.Contains(t, refusal.Message, "the shop is down")
		refused(t, l, running, limits.RuleKilled)
		ended(t, l, running, true, true)
		require.NoError(t, other.Revive(t.Context()))
		admit(t, l, restart("b", "s", "db"))
		require.NoError(t, other.Revive(t.Context()), "twice does no harm")
	})
}

func TestRulesThatAreSwitchedOffForbidNothing(t *testing.T) {
	onEachStore(t, func(t *testing.T, s limits.Store) {
		l := newLimits(t, s, limits.Rules{Cooldown: -1, BreakerFailures: -1, Effects: -1, Workloads: -1, Nodes: -1, Pods: -1, Share: -1})
		for i := range 20 {
			e := restart("a", fmt.Sprint(i), "web")
			e.Touches = []actions.Touch{{Target: e.Target, Replicas: 1, Of: 1}}
			admit(t, l, e)
			ended(t, l, e, true, false)
		}
	})
}

func TestRulesThatMakeNoSenseAreSaid(t *testing.T) {
	_, err := limits.New(nil, limits.Rules{})
	require.ErrorContains(t, err, "NewMemory or OpenFiles")
	_, err = limits.New(limits.NewMemory(), limits.Rules{Share: 50})
	require.ErrorContains(t, err, "Rules.Share is 50")
	_, err = limits.New(limits.NewMemory(), limits.Rules{Window: -1})
	require.ErrorContains(t, err, "Rules.Window")
}

func TestAFinishedRunLeavesNothing(t *testing.T) {
	onEachStore(t, func(t *testing.T, s limits.Store) {
		l := newLimits(t, s, limits.Rules{Workloads: 1})
		admit(t, l, restart("a", "s", "web"))
		refused(t, l, restart("a", "other", "db"), limits.RuleBudget)
		require.NoError(t, l.Finished(t.Context(), "a"))
		require.Nil(t, get(t, s, "run/a"))
	})
}

func TestAWithheldAttemptKeepsWhatAnEarlierOneMayHaveUsed(t *testing.T) {
	onEachStore(t, func(t *testing.T, s limits.Store) {
		l := newLimits(t, s, limits.Rules{Workloads: 1, Effects: 1, Cooldown: -1})
		step := restart("a", "s", "web")
		admit(t, l, step) // and its process dies
		admit(t, l, step)
		ended(t, l, step, false, false)
		refused(t, l, restart("a", "other", "db"), limits.RuleBudget)
		other := restart("b", "s", "db")
		refused(t, l, other, limits.RuleBudget)
	})
}

// killing switches everything off while somebody waits for the store.
type killing struct {
	limits.Store
	key  string
	kill func()
}

func (k *killing) Update(ctx context.Context, key string, change func([]byte) ([]byte, error)) error {
	if key == k.key && k.kill != nil {
		kill := k.kill
		k.kill = nil
		kill()
	}
	return k.Store.Update(ctx, key, change)
}

func TestNothingIsSentOnceEverythingIsOff(t *testing.T) {
	onEachStore(t, func(t *testing.T, s limits.Store) {
		off := newLimits(t, s, limits.Rules{})
		late := &killing{Store: s, key: "namespace/shop", kill: func() { require.NoError(t, off.Kill(t.Context(), "ann", "enough")) }}
		l := newLimits(t, late, limits.Rules{Effects: 1})
		refused(t, l, restart("a", "s", "web"), limits.RuleKilled)
		require.NoError(t, off.Revive(t.Context()))
		admit(t, l, restart("b", "s", "web"))
	})
}
