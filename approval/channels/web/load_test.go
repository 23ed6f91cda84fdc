package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval/channels/web"
)

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A run that waits has the goroutine of its executor and no other, and what its page shows is small.
func TestAThousandRunsThatWaitCostLittle(t *testing.T) {
	const runs, most = 1000, 32 << 10
	s := newSite(t, setup{noServer: true})
	plan := oomkill(t)
	s.start("first", plan)
	before, goroutines := heap(), runtime.NumGoroutine()
	for i := range runs {
		s.start(fmt.Sprintf("run-%04d", i), plan)
	}
	each := (heap() - before) / runs
	t.Logf("%d bytes and %d goroutines for each of %d runs that wait", each, (runtime.NumGoroutine()-goroutines)/runs, runs)
	require.Less(t, each, uint64(most))
	require.LessOrEqual(t, runtime.NumGoroutine()-goroutines, runs+10)
}

// BenchmarkDecisions hands in 1,000 decisions about as many runs, 200 a second, each over HTTP through a proxy, whether the
// ones before have been answered or not. It reports how long an answer took.
func BenchmarkDecisions(b *testing.B) {
	const decisions, rate = 1000, 200
	for b.Loop() {
		s := newSite(b, setup{options: func(o *web.Options) { o.DecisionsPerMinute = 1 << 20 }})
		plan := oomkill(b)
		person := s.as("ann")
		person.http.Transport = &http.Transport{MaxIdleConnsPerHost: 64}
		forms := make([]url.Values, decisions)
		for i := range forms {
			run := fmt.Sprintf("run-%04d", i)
			s.start(run, plan)
			forms[i] = form(person.get(s.url + "/runs/" + run).body)
			forms[i].Set("verdict", "approve")
		}
		took := make([]time.Duration, decisions)
		var all sync.WaitGroup
		ticker := time.NewTicker(time.Second / rate)
		began := time.Now()
		for i := range decisions {
			<-ticker.C
			all.Go(func() {
				at := time.Now()
				r := person.post(s.url+fmt.Sprintf("/runs/run-%04d/decision", i), forms[i])
				took[i] = time.Since(at)
				if r.status != http.StatusSeeOther {
					b.Errorf("decision %d: %d %s", i, r.status, r.body)
				}
			})
		}
		all.Wait()
		ticker.Stop()
		slices.Sort(took)
		b.ReportMetric(float64(decisions)/time.Since(began).Seconds(), "decisions/s")
		b.ReportMetric(float64(took[decisions/2].Microseconds())/1000, "ms-p50")
		b.ReportMetric(float64(took[decisions*99/100].Microseconds())/1000, "ms-p99")
	}
}
