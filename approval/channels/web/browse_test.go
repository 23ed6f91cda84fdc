package web_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor"
)

// submit clicks, and waits for the page that follows.
func submit(t *testing.T, ctx context.Context, selector chromedp.CSS) int64 {
	t.Helper()
	response, err := chromedp.RunResponse(ctx, chromedp.Click(selector))
	require.NoError(t, err)
	return response.Status
}

func TestPeopleApproveAndRejectInABrowser(t *testing.T) {
	ctx := chromium(t)
	for verdict, want := range map[string]struct {
		says, outcome string
		status        executor.RunStatus
	}{
		"approve": {"Approved by ann at ", "granted", executor.RunSucceeded},
		"reject":  {"Rejected by ann at ", "denied", executor.RunRejected},
	} {
		s := newSite(t, setup{})
		run, _ := s.start("r", oomkill(t))
		do(t, ctx, signed(s, "ann", ""), chromedp.Navigate(s.url+"/"))
		require.EqualValues(t, http.StatusOK, submit(t, ctx, "h2 a"))
		do(t, ctx, chromedp.WaitVisible(chromedp.CSS("#reason")), chromedp.SendKeys(chromedp.CSS("#reason"), "seen <b>it</b>"))
		require.EqualValues(t, http.StatusOK, submit(t, ctx, chromedp.CSS("button."+verdict)))
		do(t, ctx, says("#decision", want.says), says("#decision", "seen <b>it</b>"))
		require.Equal(t, want.outcome, get(t, ctx, chromedp.Evaluate[string](`document.getElementById("decision").dataset.outcome`)))
		require.Equal(t, want.status, ended(t, run).Status())
		do(t, ctx, says("#title", string(want.status)), says("#steps tr:nth-child(4)", map[string]string{"approve": "succeeded", "reject": "rejected"}[verdict]))
	}
}

func TestAPageThatIsOpenLearnsThatTheTimeIsUp(t *testing.T) {
	ctx := chromium(t)
	s := newSite(t, setup{config: func(c *executor.Config) {
		p := *approval.IncidentTable()
		p.Timeout = 3 * time.Second
		c.Policy = &p
	}})
	run, req := s.start("r", oomkill(t))
	do(t, ctx, signed(s, "ann", ""), chromedp.Navigate(s.channel.URL(req)), chromedp.WaitVisible(chromedp.CSS("button.approve")))
	do(t, ctx, says("#decision", "Nobody answered in time, which means no."), says("#said", "Nobody answered in time"))
	require.Equal(t, 0, get(t, ctx, chromedp.Evaluate[int](`document.querySelectorAll("form").length`)))
	require.Equal(t, executor.RunRejected, ended(t, run).Status())
}

func TestAnotherTabLearnsOfTheDecision(t *testing.T) {
	ctx := chromium(t)
	s := newSite(t, setup{config: func(c *executor.Config) {
		p := *approval.IncidentTable()
		p.Quorum = 2
		c.Policy = &p
	}})
	run, req := s.start("r", oomkill(t))
	one, two := ctx, tab(t, ctx)
	do(t, one, signed(s, "ann", ""), chromedp.Navigate(s.channel.URL(req)))
	do(t, two, chromedp.Navigate(s.channel.URL(req)), chromedp.SendKeys(chromedp.CSS("#reason"), "half a sen"))
	require.EqualValues(t, http.StatusOK, submit(t, one, "button.approve"))
	do(t, two, says("#decision", "You have said yes. Another person has to say yes as well"))
	require.Equal(t, "half a sen", get(t, two, chromedp.Value(chromedp.CSS("#reason"))), "what was typed is kept")
	require.Equal(t, http.StatusSeeOther, s.as("bob").decide(s, "r", "approve", "").status)
	do(t, one, says("#decision", "Approved by ann, bob at"))
	do(t, two, says("#decision", "Approved by ann, bob at"), says("#title", "succeeded"))
	require.Equal(t, executor.RunSucceeded, ended(t, run).Status())
}

func TestDecidingNeedsNoScript(t *testing.T) {
	ctx := chromium(t)
	s := newSite(t, setup{})
	run, req := s.start("r", oomkill(t))
	do(t, ctx, signed(s, "ann", ""), command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}),
		chromedp.Navigate(s.channel.URL(req)), chromedp.SendKeys(chromedp.CSS("#reason"), "no script"))
	require.Contains(t, get(t, ctx, chromedp.Text(chromedp.CSS("main"))), "Deciding works all the same.")
	require.EqualValues(t, http.StatusOK, submit(t, ctx, "button.approve"))
	require.Contains(t, get(t, ctx, chromedp.Text(chromedp.CSS("#decision"))), "Approved by ann at ")
	report := ended(t, run)
	require.Equal(t, executor.RunSucceeded, report.Status())
	require.Equal(t, "no script", report.Step(3).Gate.Reason)
}

func TestTheKeyboardAloneIsEnough(t *testing.T) {
	ctx := chromium(t)
	s := newSite(t, setup{})
	run, req := s.start("r", oomkill(t))
	do(t, ctx, signed(s, "ann", ""), chromedp.Navigate(s.channel.URL(req)))
	const focused = `(() => { const e = document.activeElement, c = getComputedStyle(e);
		return [e.id || e.className || e.tagName, c.outlineStyle != "none" && parseFloat(c.outlineWidth) >= 2 && e.getBoundingClientRect().top >= 0] })()`
	var path []any
	reached := func(want string) {
		for range 20 {
			do(t, ctx, chromedp.KeyEvent(kb.Tab))
			at := get(t, ctx, chromedp.Evaluate[[]any](focused))
			path = append(path, at[0])
			require.Equal(t, true, at[1], "the focus on %v cannot be seen", at[0])
			if at[0] == want {
				return
			}
		}
		t.Fatalf("%s is not reached: %v", want, path)
	}
	reached("skip")
	do(t, ctx, chromedp.KeyEvent(kb.Enter))
	reached("reason")
	do(t, ctx, chromedp.KeyEvent("typed"))
	reached("approve")
	_, err := chromedp.RunResponse(ctx, chromedp.KeyEvent(kb.Enter))
	require.NoError(t, err)
	do(t, ctx, says("#decision", "Approved by ann"))
	require.Equal(t, "typed", ended(t, run).Step(3).Gate.Reason)
}

func TestAxeFindsNothingWrongWithThePages(t *testing.T) {
	axe := axeCore(t)
	s, run := incident(t)
	ctx := chromium(t)
	do(t, ctx, signed(s, "ann", ""))
	check := func(name string) {
		for _, width := range []int64{390, 1280} {
			for _, colours := range []string{"light", "dark"} {
				do(t, ctx, chromedp.EmulateViewport(width, 900), scheme(colours))
				require.Empty(t, violations(t, ctx, axe), "%s, %d pixels wide, %s", name, width, colours)
			}
		}
	}
	page := s.url + "/runs/" + run.ID()
	do(t, ctx, chromedp.Navigate(s.url+"/"))
	check("the list")
	do(t, ctx, chromedp.Navigate(page))
	check("an open question")
	do(t, ctx, chromedp.Navigate(s.url+"/runs/none"))
	check("a page that does not exist")
	do(t, ctx, signed(s, "mallory", ""), chromedp.Navigate(page))
	check("somebody who may not decide")
	do(t, ctx, signed(s, "ann", ""), chromedp.Navigate(page))
	require.Equal(t, http.StatusSeeOther, s.as("ann").decide(s, run.ID(), "reject", "not now").status)
	do(t, ctx, says("#decision", "Rejected by ann"))
	check("a closed question")
	do(t, ctx, chromedp.Navigate(s.url+"/"))
	check("the empty list")
}

func TestTheContentPolicyIsNotInThePagesOwnWay(t *testing.T) {
	ctx := chromium(t)
	s := newSite(t, setup{})
	run, req := s.start("r", oomkill(t))
	const watch = `window.blocked = []; document.addEventListener("securitypolicyviolation", e => blocked.push(e.violatedDirective + " " + e.blockedURI + e.sample))`
	do(t, ctx, signed(s, "ann", ""), early(watch), chromedp.Navigate(s.channel.URL(req)), chromedp.WaitVisible(chromedp.CSS("#drawing img")))
	_ = s.as("bob").decide(s, "r", "approve", "")
	ended(t, run)
	do(t, ctx, says("#title", "succeeded"))
	require.Empty(t, get(t, ctx, chromedp.Evaluate[[]string](`window.blocked`)))
	do(t, ctx, eventually(`document.querySelector("#drawing img").naturalWidth > 0`))
	do(t, ctx, chromedp.Navigate(s.url+"/runs/r/drawing.svg"))
	require.Equal(t, "rgb(255, 255, 255)", get(t, ctx, chromedp.Evaluate[string](`getComputedStyle(document.querySelector(".ground")).fill`)), "the drawing has its style")
	require.Empty(t, get(t, ctx, chromedp.Evaluate[[]string](`window.blocked ?? []`)))
}
