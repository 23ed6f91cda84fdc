package render_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/dag/render"
)

const (
	second = time.Second
	minute = time.Minute
)

func TestTimelineTellsHowARunWentWrong(t *testing.T) {
	p := incident(t, "oomkill")
	begun := []render.Span{
		{Step: 0, Started: true, End: 2 * minute, Status: "succeeded"},
		{Step: 1, Started: true, End: minute, Status: "succeeded"},
		{Step: 2, Started: true, Start: 2 * minute, End: 150 * second, Status: "succeeded"},
	}
	for _, c := range []struct {
		name string
		run  render.Run
	}{
		{"rejected", render.Run{Status: "rejected", End: 3 * minute, Spans: append(begun[:3:3],
			render.Span{Step: 3, Gated: true, Answered: true, Asked: 150 * second, Decided: 3 * minute, By: "bob", Status: "rejected", Reason: "freeze"},
			render.Span{Step: 4, Status: "blocked", Reason: "dependency rec-004"},
			render.Span{Step: 5, Status: "blocked", Reason: "dependency rec-004"},
			render.Span{Step: 6, Status: "blocked"})}},
		{"failed", render.Run{Status: "failed", End: 2 * minute, Spans: []render.Span{
			{Step: 0, Started: true, End: 2 * minute, Status: "succeeded"},
			{Step: 1, Started: true, End: 40 * second, Status: "failed", Reason: "timeout"},
			{Step: 2, Status: "blocked"},
			{Step: 3, Status: "cancelled"}}}},
		{"rolled-back", render.Run{Status: "rolledBack", End: 5 * minute, Spans: []render.Span{
			begun[0], begun[1],
			{Step: 2, Started: true, Start: 2 * minute, End: 150 * second, Status: "rolledBack"},
			{Step: 3, Gated: true, Answered: true, Asked: 150 * second, Decided: 150 * second, Started: true, Start: 150 * second, End: 4 * minute, Status: "failed", Reason: "stuckRollout"}}}},
		{"parked", render.Run{Status: "parked", End: 10 * minute, Spans: append(begun[:3:3],
			render.Span{Step: 3, Gated: true, Asked: 150 * second, Status: "waitingApproval"},
			render.Span{Step: 4, Status: "pending"})}},
		{"running", render.Run{Status: "running", End: 90 * second, Spans: []render.Span{
			{Step: 0, Started: true, Status: "running"},
			begun[1],
			{Step: 3, Gated: true, Answered: true, Asked: 0, Decided: 20 * second, Status: "pending"}}}},
		{"asked-early", render.Run{Status: "succeeded", End: 190 * second, Spans: append(begun[:3:3],
			render.Span{Step: 3, Gated: true, Answered: true, Decided: minute, Started: true, Start: 150 * second, End: 180 * second, Status: "succeeded"},
			render.Span{Step: 4, Started: true, Start: 180 * second, End: 190 * second, Status: "succeeded"},
			render.Span{Step: 5, Started: true, Start: 180 * second, End: 190 * second, Status: "succeeded"},
			render.Span{Step: 6, Status: "skipped"})}},
		{"plan-gate", render.Run{Status: "succeededWithWarnings", End: 4 * minute,
			PlanGate: render.Span{Gated: true, Answered: true, Decided: 90 * second, By: "carol"},
			Spans: []render.Span{
				{Step: 0, Started: true, Start: 90 * second, End: 210 * second, Status: "succeeded"},
				{Step: 1, Started: true, Start: 90*second + 3*time.Millisecond, End: 4 * minute, Status: "unknown"}}}},
		{"plan-rejected", render.Run{Status: "rejected", End: 15 * minute,
			PlanGate: render.Span{Gated: true, Answered: true, Decided: 15 * minute, Status: "rejected"}}},
		{"empty", render.Run{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := render.Timeline(p, c.run)
			golden(t, "timeline/"+c.name+".txt", got)
			for i := range p.Len() {
				require.Contains(t, got, "Step "+string(rune('1'+i))+": ")
			}
		})
	}
}

func TestTimelineShowsALateStart(t *testing.T) {
	run := render.Run{Status: "succeeded", End: 7 * second, Spans: []render.Span{
		{Step: 0, Started: true, Start: 5 * second, End: 7 * second, Status: "succeeded"}}}
	require.Equal(t, "T+0s: Workflow Created\n\n"+
		"T+5s: Workflow Continues\n      └─> Step 1: probe → 2s\n\n"+
		"T+7s: Workflow Complete ✅\n\nTotal: 7s\n", render.Timeline(sketch{deps: chain(1)}.build(t), run))
}

func TestTimelineIgnoresSpansOfNoStep(t *testing.T) {
	p := incident(t, "oomkill")
	run := rehearse(p, nil)
	want := render.Timeline(p, run)
	run.Spans = append(run.Spans, render.Span{Step: -1, Started: true}, render.Span{Step: 7, Started: true})
	require.Equal(t, want, render.Timeline(p, run))
}

func TestTimelineDurationsAreShort(t *testing.T) {
	p := sketch{deps: chain(1)}.build(t)
	for d, want := range map[time.Duration]string{
		0:                                 "0s",
		1500 * time.Microsecond:           "2ms",
		1234 * time.Millisecond:           "1.2s",
		59960 * time.Millisecond:          "1m",
		430*second + 400*time.Millisecond: "7m10s",
		time.Hour:                         "1h",
		time.Hour + 30*second:             "1h0m30s",
		2*time.Hour + 5*minute:            "2h5m",
		-3 * second:                       "-3s",
	} {
		got := render.Timeline(p, render.Run{End: d, Status: "succeeded"})
		require.True(t, strings.HasSuffix(got, "\nTotal: "+want+"\n"), got)
	}
}
