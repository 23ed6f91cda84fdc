package approval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"
)

// A Channel is an Approver under a name.
type Channel struct {
	Name string
	Approver
}

// A Failure tells that a channel could not be reached.
type Failure struct {
	Channel, Run, Key string
	Err               error
	// Retry is when it is tried again; 0 when it is not.
	Retry time.Duration
}

// Broadcast puts every request before several channels at once: the first answer counts, and the others are shown it. A
// channel that fails denies nothing: report is told, nil tells nobody, and the channel is tried again as long as the request
// is open, after 1s, 2s, 4s and so on, at most 30s, less a random half. report is called once at a time. Names must differ.
//
// The Approver is an [Updater], which tries three times.
func Broadcast(report func(Failure), channels ...Channel) Approver {
	if report == nil {
		report = func(Failure) {}
	}
	return &broadcast{report: report, channels: channels, receipts: map[string]map[string]string{}}
}

type broadcast struct {
	channels []Channel

	reporting sync.Mutex // held while report is called
	report    func(Failure)

	mu       sync.Mutex                   // guards what follows
	receipts map[string]map[string]string // of open requests, by key and channel
}

const (
	firstWait   = time.Second
	longestWait = 30 * time.Second
	updateTries = 3
)

// Approve is [Approver]'s.
func (b *broadcast) Approve(ctx context.Context, req *Request) (*Decision, error) {
	if len(b.channels) == 0 {
		return nil, errors.New("approval: there is no channel that could ask anybody")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b.remember(req)
	answers := make(chan *Decision, len(b.channels))
	for _, c := range b.channels {
		go func() { answers <- b.announce(ctx, c, req) }()
	}
	var answer *Decision
	for range b.channels {
		d := <-answers
		if answer == nil && d != nil && d.Verdict != Pending {
			answer = d
			cancel() // the others need not wait for anybody
		}
	}
	if answer != nil {
		return answer, nil
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return &Decision{Verdict: Pending, Receipt: b.receipt(req.Key)}, nil
}

// announce puts a request before one channel until that has taken it. It returns nil when the request needs no answer any more.
func (b *broadcast) announce(ctx context.Context, c Channel, req *Request) *Decision {
	own := *req
	for try := 0; ; try++ {
		own.Receipt = b.receiptOf(req.Key, c.Name)
		d, err := ask(ctx, c, &own)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil && d != nil && d.Verdict == Pending:
			b.keep(req.Key, c.Name, d.Receipt)
			return d
		case err == nil && d != nil && d.Verdict != 0:
			return d
		case err == nil:
			err = errors.New("it gave no answer")
		}
		wait := min(firstWait<<min(try, 16), longestWait)
		wait -= rand.N(wait/2 + 1)
		b.fail(Failure{Channel: c.Name, Run: req.Run, Key: req.Key, Err: err, Retry: wait})
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

func (b *broadcast) fail(f Failure) {
	b.reporting.Lock()
	defer b.reporting.Unlock()
	b.report(f)
}

func ask(ctx context.Context, c Channel, req *Request) (d *Decision, err error) {
	defer func() {
		if v := recover(); v != nil {
			d, err = nil, fmt.Errorf("panic: %v", v)
		}
	}()
	return c.Approve(ctx, req)
}

// Update is [Updater]'s.
func (b *broadcast) Update(ctx context.Context, req *Request, s Standing) error {
	b.remember(req)
	if s.State != Open {
		defer b.forget(req.Key)
	}
	errs := make([]error, len(b.channels))
	var all sync.WaitGroup
	for i, c := range b.channels {
		u, ok := c.Approver.(Updater)
		if !ok {
			continue
		}
		all.Go(func() {
			own := *req
			own.Receipt = b.receiptOf(req.Key, c.Name)
			if err := b.update(ctx, c.Name, u, &own, s); err != nil {
				errs[i] = fmt.Errorf("%s: %w", c.Name, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (b *broadcast) update(ctx context.Context, name string, u Updater, req *Request, s Standing) error {
	for try := 1; ; try++ {
		err := tell(ctx, u, req, s)
		if err == nil {
			return nil
		}
		wait := firstWait << (try - 1)
		if try == updateTries {
			wait = 0
		}
		b.fail(Failure{Channel: name, Run: req.Run, Key: req.Key, Err: err, Retry: wait})
		if wait == 0 {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

func tell(ctx context.Context, u Updater, req *Request, s Standing) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return u.Update(ctx, req, s)
}

// remember takes the receipts of a former process from a request.
func (b *broadcast) remember(req *Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.receipts[req.Key] != nil || req.Receipt == "" {
		return
	}
	var all map[string]string
	if json.Unmarshal([]byte(req.Receipt), &all) == nil {
		b.receipts[req.Key] = all
	}
}

func (b *broadcast) keep(key, channel, receipt string) {
	if receipt == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.receipts[key] == nil {
		b.receipts[key] = map[string]string{}
	}
	b.receipts[key][channel] = receipt
}

func (b *broadcast) receiptOf(key, channel string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.receipts[key][channel]
}

func (b *broadcast) receipt(key string) string {
	b.mu.Lock()
	all := maps.Clone(b.receipts[key])
	b.mu.Unlock()
	if len(all) == 0 {
		return ""
	}
	data, _ := json.Marshal(all) // a map of strings always can be
	return string(data)
}

func (b *broadcast) forget(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.receipts, key)
}
