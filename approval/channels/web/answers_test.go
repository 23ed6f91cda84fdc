package web_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/simulated"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/channels/web"
	"github.com/remedykit/remedy/executor"
)

// policy is the incident table with something more.
func policy(change func(p *approval.Policy)) func(c *executor.Config) {
	return func(c *executor.Config) {
		p := *approval.IncidentTable()
		change(&p)
		c.Policy = &p
	}
}

func TestLateAndDoubleClicksAreToldWhoDecidedAndWhen(t *testing.T) {
	s := newSite(t, setup{})
	run, req := s.start("r", oomkill(t))
	ann, bob := s.as("ann"), s.as("bob")
	hers := with(form(ann.get(s.channel.URL(req)).body), "verdict", "approve", "reason", "seen")
	his := with(form(bob.get(s.channel.URL(req)).body), "verdict", "reject")
	to := s.url + "/runs/r/decision"
	require.Equal(t, http.StatusSeeOther, ann.post(to, hers).status)
	ended(t, run)
	for _, got := range []reply{ann.post(to, hers), bob.post(to, his)} {
		require.Equal(t, http.StatusConflict, got.status)
		require.Contains(t, got.body, "This has been decided")
		require.Regexp(t, `Approved by ann at \d\d:\d\d:\d\d UTC: seen\. Your answer changed nothing\.`, got.body)
	}
}

func TestThePageKnowsFromTheRunWhatNobodyHasToldTheChannel(t *testing.T) {
	s := newSite(t, setup{deaf: true, config: policy(func(p *approval.Policy) { p.Quorum = 2 })})
	run, req := s.start("r", oomkill(t))
	require.Equal(t, http.StatusSeeOther, s.as("ann").decide(s, "r", "approve", "").status)
	require.Contains(t, s.as("bob").get(s.channel.URL(req)).body, `<dd class="yes">ann</dd>`)
	require.Equal(t, http.StatusSeeOther, s.as("bob").decide(s, "r", "approve", "").status)
	require.Contains(t, s.as("bob").get(s.channel.URL(req)).body, "Approved by ann, bob at ")
	ended(t, run)
	run, req = s.start("other", oomkill(t))
	require.Equal(t, http.StatusSeeOther, s.as("ann").decide(s, "other", "reject", "").status)
	require.Contains(t, s.as("bob").get(s.channel.URL(req)).body, "Rejected by ann at ")
	ended(t, run)
	require.Contains(t, s.as("bob").get(s.url+"/").body, "Nothing waits for a person")
}

func TestOfManyAnswersAtOnceOneCounts(t *testing.T) {
	s := newSite(t, setup{})
	run, req := s.start("r", oomkill(t))
	answers := make(chan int, 20)
	var posts []func()
	for i := range 20 {
		b := s.as(fmt.Sprintf("person-%d", i))
		f := with(form(b.get(s.channel.URL(req)).body), "verdict", []string{"approve", "reject"}[i%2])
		posts = append(posts, func() { answers <- b.post(s.url+"/runs/r/decision", f).status })
	}
	var all sync.WaitGroup
	for _, post := range posts {
		all.Go(post)
	}
	all.Wait()
	close(answers)
	counts := map[int]int{}
	for status := range answers {
		counts[status]++
	}
	require.Equal(t, map[int]int{http.StatusSeeOther: 1, http.StatusConflict: 19}, counts)
	ended(t, run)
}

func TestThePageSaysWhoIsStillNeededAndWhoMayNotDecide(t *testing.T) {
	s := newSite(t, setup{config: policy(func(p *approval.Policy) {
		p.Quorum, p.Approvers = 2, approval.Approvers{People: []string{"ann"}, Groups: []string{"sre"}}
	})})
	run, req := s.start("r", oomkill(t))
	require.Equal(t, http.StatusSeeOther, s.as("bob", "sre").decide(s, "r", "approve", "looks right").status)
	seen := s.as("ann").get(s.channel.URL(req)).body
	for _, want := range []string{"2 of ann, group sre", "bob: looks right", "1 of ann, group sre", ">Approve<", ">Reject<"} {
		require.Contains(t, seen, want)
	}
	his := s.as("bob", "sre").get(s.channel.URL(req)).body
	require.Contains(t, his, "You have said yes. Another person has to say yes as well; until then you can still say no.")
	require.NotContains(t, his, ">Approve<")
	again := with(form(his), "verdict", "approve")
	twice := s.as("bob", "sre").post(s.url+"/runs/r/decision", again)
	require.Equal(t, http.StatusConflict, twice.status)
	require.Contains(t, twice.body, "You have said yes before")
	outside := s.as("eve", "dev").get(s.channel.URL(req)).body
	require.Contains(t, outside, "It takes 2 of ann, group sre.")
	require.NotContains(t, outside, "<form")
	author := s.as("holmes-controller").get(s.channel.URL(req)).body
	require.Contains(t, author, "is the author of the plan")
	require.Equal(t, http.StatusSeeOther, s.as("bob", "sre").decide(s, "r", "reject", "on second thoughts").status)
	require.Equal(t, executor.RunRejected, ended(t, run).Status())
}

func TestWhoMayNotLookSeesNothing(t *testing.T) {
	s := newSite(t, setup{options: func(o *web.Options) {
		o.Viewers = func(_ string, groups []string) bool { return len(groups) > 0 && groups[0] == "sre" }
	}})
	_, req := s.start("r", oomkill(t))
	for _, path := range []string{"/", "/runs/r", "/runs/r/drawing.svg", "/runs/r/live"} {
		got := s.as("eve", "dev").get(s.url + path)
		require.Equal(t, http.StatusForbidden, got.status, path)
		require.NotContains(t, got.body, "restart_pod", path)
	}
	require.Equal(t, http.StatusForbidden, s.as("eve", "dev").post(s.url+"/runs/r/decision", fields("verdict", "approve")).status)
	require.Equal(t, http.StatusOK, s.as("bob", "sre").get(s.channel.URL(req)).status)
}

func TestAnEscalationIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, setup{noServer: true, config: policy(func(p *approval.Policy) {
			p.Approvers = approval.Approvers{People: []string{"ann"}}
			p.Escalation = &approval.Escalation{After: 5 * time.Minute, To: approval.Approvers{Groups: []string{"oncall"}}}
		})})
		s.start("r", oomkill(t))
		look := func() string { return s.direct1("ann", http.MethodGet, "/runs/r", nil).Body.String() }
		require.Contains(t, look(), "1 of ann; after 5m also group oncall")
		require.NotContains(t, look(), "others were asked as well")
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.Contains(t, look(), "Nobody decided for a while, so others were asked as well.")
		require.Contains(t, look(), "1 of ann, group oncall")
		require.Contains(t, look(), ">10 min 00 s<")
	})
}

// drifting finds the object otherwise every time somebody looks after it was told to.
type drifting struct {
	actions.ActionHandler
	version *string
}

func (d drifting) Unwrap() actions.ActionHandler { return d.ActionHandler }

func (d drifting) DryRun(context.Context, *actions.Request) (*actions.Preview, error) {
	return &actions.Preview{Verdict: actions.Verified, Change: []string{"replicas: 3"}, Basis: map[string]string{"resourceVersion": *d.version}}, nil
}

func TestAYesToWhatHasChangedIsAskedAgainOnTheSamePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		version := "1"
		s := newSite(t, setup{noServer: true, config: func(c *executor.Config) {
			c.Handlers = simulated.New(simulated.Options{Scale: -1}).Handlers(actions.Canonical())
			for name := range c.Handlers {
				c.Handlers[name] = drifting{c.Handlers[name], &version}
			}
		}})
		run, req := s.start("r", oomkill(t))
		f := with(form(s.direct1("ann", http.MethodGet, "/runs/r", nil).Body.String()), "verdict", "approve")
		version = "2"
		got := s.direct1("ann", http.MethodPost, "/runs/r/decision", f)
		require.Equal(t, http.StatusConflict, got.Code)
		require.Contains(t, got.Body.String(), "What you were shown has changed")
		require.Contains(t, got.Body.String(), "resourceVersion was 1 and is 2 now")
		synctest.Wait()
		old := s.direct1("ann", http.MethodGet, "/runs/r?request="+req.Key, nil).Body.String()
		require.Contains(t, old, "Withdrawn: resourceVersion was 1 and is 2 now")
		require.Contains(t, old, "Also waiting in this run")
		page := s.direct1("ann", http.MethodGet, "/runs/r", nil).Body.String()
		require.Contains(t, page, "it is asked again, because resourceVersion was 1 and is 2 now")
		require.NotEqual(t, f.Get("digest"), form(page).Get("digest"))
		require.Equal(t, http.StatusSeeOther, s.direct1("ann", http.MethodPost, "/runs/r/decision", with(form(page), "verdict", "approve")).Code)
		<-run.Done()
		require.Equal(t, executor.RunSucceeded, run.Snapshot().Status())
	})
}

func TestAQuestionThatNeedsNoAnswerAnyMoreIsWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, setup{noServer: true})
		run, _ := s.start("r", oomkill(t))
		f := with(form(s.direct1("ann", http.MethodGet, "/runs/r", nil).Body.String()), "verdict", "approve")
		require.NoError(t, s.ex.Cancel(t.Context(), "r", "the incident is over"))
		<-run.Done()
		require.Contains(t, s.direct1("ann", http.MethodGet, "/runs/r", nil).Body.String(), "Withdrawn")
		require.Contains(t, s.direct1("ann", http.MethodGet, "/", nil).Body.String(), "Nothing waits for a person")
		got := s.direct1("ann", http.MethodPost, "/runs/r/decision", f)
		require.Equal(t, http.StatusConflict, got.Code)
		require.Contains(t, got.Body.String(), "No answer is needed any more")
	})
}

func TestWhatIsClosedIsForgottenAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, setup{noServer: true, options: func(o *web.Options) { o.Keep = 30 * time.Minute }})
		run, req := s.start("old", oomkill(t))
		require.NoError(t, s.ex.Decide(t.Context(), "old", req.Step.ID(), approval.Decision{Verdict: approval.Rejected, By: "ann", Digest: req.Digest}))
		<-run.Done()
		s.start("new", oomkill(t))
		require.Equal(t, 2, web.Kept(s.channel))
		time.Sleep(14 * time.Minute)
		require.Contains(t, s.direct1("ann", http.MethodGet, "/runs/old", nil).Body.String(), "Rejected by ann")
		time.Sleep(20 * time.Minute) // the newer one expires meanwhile, and is kept
		s.start("newest", oomkill(t))
		require.Equal(t, 2, web.Kept(s.channel))
		require.NotContains(t, s.direct1("ann", http.MethodGet, "/runs/old", nil).Body.String(), "Rejected by ann")
		require.Contains(t, s.direct1("ann", http.MethodGet, "/runs/new", nil).Body.String(), "Nobody answered in time")
	})
}

func TestBeforeAnExecutorIsAttachedNothingIsDecided(t *testing.T) {
	channel, err := web.New(web.Options{URL: "http://localhost:1", Key: key, Proxy: &web.Proxy{UserHeader: "X-Forwarded-User"}})
	require.NoError(t, err)
	s := &site{t: t, channel: channel, url: "http://localhost:1"}
	plan := oomkill(t)
	_, err = channel.Approve(t.Context(), &approval.Request{Key: "r/rec-004", Run: "r", Plan: plan, Step: plan.Step(3), Digest: "d"})
	require.NoError(t, err)
	page := s.direct1("ann", http.MethodGet, "/runs/r", nil)
	require.Contains(t, page.Body.String(), "no limit")
	got := s.direct1("ann", http.MethodPost, "/runs/r/decision", with(form(page.Body.String()), "verdict", "approve"))
	require.Equal(t, http.StatusServiceUnavailable, got.Code)
	require.True(t, strings.Contains(got.Body.String(), "Nothing was decided"))
}

func TestAPlanAsAWholeIsDecidedLikewise(t *testing.T) {
	s := newSite(t, setup{config: policy(func(p *approval.Policy) { p.MaxSteps = 3 })})
	run, req := s.start("r", oomkill(t))
	require.Nil(t, req.Step)
	require.Contains(t, s.as("ann").get(s.url+"/").body, "The plan as a whole")
	require.Equal(t, http.StatusSeeOther, s.as("ann").decide(s, "r", "approve", "").status)
	require.Equal(t, "ann", run.Snapshot().PlanGate().By)
}
