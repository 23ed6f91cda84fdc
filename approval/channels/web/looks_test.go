package web_test

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/simulated"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor"
)

// incident is a run as people meet it: evidence, a panel of two, one vote.
func incident(t *testing.T) (*site, *executor.Run) {
	t.Helper()
	s := newSite(t, setup{config: func(c *executor.Config) {
		p := *approval.IncidentTable()
		p.Quorum, p.Approvers = 2, approval.Approvers{People: []string{"ann"}, Groups: []string{"sre"}}
		c.Policy = &p
		c.Handlers = surveyed(simulated.New(simulated.Options{Scale: 0.01}).Handlers(actions.Canonical()))
	}})
	o := surely
	o.ID = "oomkill-20250304"
	o.Incident = &approval.Incident{
		ID: "INC-2041", Title: "payment-service is killed for memory every 40 minutes",
		Summary:  "Three pods of production/payment-service were OOMKilled 14 times since 09:20.",
		Evidence: []string{"container_memory_working_set_bytes grows by 50 MB an hour", "last release 3 days ago: order-cache enabled"},
	}
	run, _ := s.startWith(oomkill(t), o)
	require.Equal(t, 303, s.as("bob", "sre").decide(s, o.ID, "approve", "memory graph agrees").status)
	return s, run
}

func TestThePagesLookAsTheyShould(t *testing.T) {
	s, run := incident(t)
	o := surely
	o.ID, o.Incident = "deadlock-20250304", &approval.Incident{Title: "orders wait for one another in the database"}
	s.startWith(oomkill(t), o)
	ctx := chromium(t)
	page := s.url + "/runs/" + run.ID()
	do(t, ctx, signed(s, "ann", ""))
	for _, look := range []struct {
		name          string
		width, height int64
		scheme        string
		url           string
	}{
		{"run-light", 1280, 2290, "light", page},
		{"run-dark", 1280, 1100, "dark", page},
		{"run-phone", 390, 3160, "light", page},
		{"list-light", 1280, 420, "light", s.url + "/"},
		{"list-phone", 390, 600, "dark", s.url + "/"},
	} {
		do(t, ctx, chromedp.EmulateViewport(look.width, look.height), scheme(look.scheme), chromedp.Navigate(look.url))
		require.True(t, get(t, ctx, chromedp.Evaluate[bool](`document.documentElement.scrollWidth <= innerWidth`)), "%s scrolls sideways", look.name)
		keep(t, ctx, look.name)
	}
	do(t, ctx, chromedp.EmulateViewport(1280, 900), scheme("light"), chromedp.Navigate(page))
	require.Equal(t, 303, s.as("ann").decide(s, run.ID(), "approve", "go").status)
	do(t, ctx, says("#title", "succeeded"))
	keep(t, ctx, "run-closed")
}
