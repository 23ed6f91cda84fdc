package web_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/executor"
)

func TestAYesOnThePageLetsTheStepRun(t *testing.T) {
	s := newSite(t, setup{})
	run, req := s.start("r", oomkill(t))
	list := s.as("ann").get(s.url + "/")
	require.Contains(t, list.body, `<a href="/runs/r?request=r%2Frec-004">Step 4, restart_pod</a>`)
	page := s.as("ann").get(s.channel.URL(req))
	for _, want := range []string{"Step 4, restart_pod", "Rolling restart to clear leaked memory", "kubectl.kubernetes.io/restartedAt", "step 4 runs", "no answer within"} {
		require.Contains(t, page.body, want)
	}
	answer := s.as("ann").decide(s, "r", "approve", "graphs look right")
	require.Equal(t, http.StatusSeeOther, answer.status, answer.body)
	require.Equal(t, "/runs/r?request=r%2Frec-004", answer.header.Get("Location"))
	report := ended(t, run)
	require.Equal(t, executor.RunSucceeded, report.Status())
	require.Equal(t, "ann", report.Step(3).Gate.By)
	require.Equal(t, "graphs look right", report.Step(3).Gate.Reason)
	page = s.as("ann").get(s.channel.URL(req))
	require.Contains(t, page.body, "Approved by ann at ")
	require.NotContains(t, page.body, "<form")
	require.Contains(t, s.as("ann").get(s.url+"/").body, "Nothing waits for a person")
}
