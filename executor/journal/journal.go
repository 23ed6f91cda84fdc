package journal

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// A Journal keeps the records of runs. It is safe for concurrent use, also of the same run.
type Journal interface {
	// Append keeps records of one run, and returns when they are durable; all or none, but that a crash may keep the first of
	// them. The first record's Seq must be one
	// more than that of the run's last record (1 for a new run), its Epoch not lower; within records Seq counts up and
	// Epoch stays. Otherwise the error wraps ErrConflict. A raised Epoch takes the run over; where a journal can tell
	// that the writer of the old epoch is alive it refuses with ErrHeld.
	//
	// After any other error nobody knows whether the records were kept; the caller must not go on with this epoch.
	Append(ctx context.Context, records ...Record) error
	// Read returns all records of a run in order. The error wraps ErrUnknownRun when there is none.
	Read(ctx context.Context, run string) ([]Record, error)
	// Runs returns the first and last record of every run, that which began last first.
	Runs(ctx context.Context) ([]Head, error)
	// Release says that this process writes no more records of a run, so that another need not wait to take it over.
	Release(run string) error
}

// A Record is one fact of a run.
type Record struct {
	Run   string `json:"run"`
	Epoch int64  `json:"epoch"`
	// Seq counts from 1.
	Seq  int64     `json:"seq"`
	Time time.Time `json:"time"`
	// Kind names the fact, such as "stepEnded". A reader must refuse a kind that it does not know.
	Kind    string `json:"kind"`
	Step    string `json:"step,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
	// Data is what the kind says; compact JSON.
	Data json.RawMessage `json:"data,omitempty"`
	// Prev is the Hash of the record before, "" for the first. Seal sets both.
	Prev string `json:"prev,omitempty"`
	Hash string `json:"hash"`
}

// A Head is the ends of a run's records.
type Head struct {
	First, Last Record
}

// Errors of a Journal, wrapped.
var (
	ErrConflict   = errors.New("another process has taken the run over")
	ErrHeld       = errors.New("another process is running this run")
	ErrUnknownRun = errors.New("no such run")
)
