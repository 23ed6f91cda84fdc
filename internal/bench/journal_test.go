package bench

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
)

// counting counts appends, each of which is one fsync, and records.
type counting struct {
	journal.Journal
	appends, records atomic.Int64
}

func (c *counting) Append(ctx context.Context, records ...journal.Record) error {
	c.appends.Add(1)
	c.records.Add(int64(len(records)))
	return c.Journal.Append(ctx, records...)
}

// BenchmarkJournal runs steps that do nothing with a journal of files, and says how many fsyncs a record costs, and which
// share of the fsyncs of as many bytes that the disk allows the run makes: a chain waits for the disk at every step.
func BenchmarkJournal(b *testing.B) {
	for _, shape := range []struct {
		name  string
		deps  [][]int
		limit int
	}{{"chain-1000", chain(1000), 1}, {"fan-1000-limit-64", fan(1000), 64}} {
		b.Run(shape.name, func(b *testing.B) {
			p := plan(b, shape.deps)
			dir := b.TempDir()
			files, err := journal.Open(dir, journal.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer files.Close()
			c := &counting{Journal: files}
			nothing := actions.HandlerFunc(func(context.Context, *actions.Request) (*actions.Result, error) { return nil, nil })
			ex, err := executor.New(executor.Config{
				Handlers: actions.Handlers{"nothing": nothing}, MaxParallel: shape.limit, Journal: c,
				Policy: &approval.Policy{Table: []approval.Row{{}}, MaxSteps: -1},
			})
			if err != nil {
				b.Fatal(err)
			}
			var floor time.Duration
			for b.Loop() {
				before := c.appends.Load()
				report, err := ex.Run(context.Background(), p, executor.RunOptions{})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				n := int(c.appends.Load() - before)
				floor += fsyncs(b, filepath.Join(dir, "floor"), n, size(b, files, report.Run())/n)
				b.StartTimer()
			}
			b.ReportMetric(float64(c.appends.Load())/float64(c.records.Load()), "fsyncs/record")
			b.ReportMetric(floor.Seconds()/b.Elapsed().Seconds(), "x-disk")
		})
	}
}

// size is how many bytes the records of a run take.
func size(b *testing.B, files *journal.Files, run string) int {
	records, err := files.Read(context.Background(), run)
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for i := range records {
		line, err := json.Marshal(&records[i])
		if err != nil {
			b.Fatal(err)
		}
		n += len(line) + 1
	}
	return n
}

// fsyncs is what n writes with their fsyncs take.
func fsyncs(b *testing.B, name string, n, size int) time.Duration {
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	line, began := make([]byte, size), time.Now()
	for range n {
		if _, err := f.Write(line); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began)
}
