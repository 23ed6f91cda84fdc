package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
)

// maxSettings bounds what is read of a policy or an overlay.
const maxSettings = 1 << 20

// read returns what a FILE holds, or "-" for standard input. It stops one byte after the limit, which is for the caller
// to notice: a file of any size costs no more than that. It returns early when ctx ends, whoever still holds the other end of
// a pipe.
func (a *app) read(ctx context.Context, name string, limit int) ([]byte, error) {
	type answer struct {
		data []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		data, err := a.readAll(name, limit)
		answers <- answer{data, err}
	}()
	select {
	case r := <-answers:
		return r.data, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (a *app) readAll(name string, limit int) ([]byte, error) {
	r := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, cannotRead(name, err)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return nil, fmt.Errorf("%s is a directory, not a file", name)
		}
		r = f
	}
	data, err := io.ReadAll(io.LimitReader(r, int64(min(limit, math.MaxInt-1))+1))
	if err != nil {
		return nil, cannotRead(name, err)
	}
	return data, nil
}

// readSettings reads a file that people wrote for the program.
func (a *app) readSettings(ctx context.Context, name string) ([]byte, error) {
	data, err := a.read(ctx, name, maxSettings)
	if err == nil && len(data) > maxSettings {
		err = fmt.Errorf("%s is longer than %d bytes", name, maxSettings)
	}
	return data, err
}

func cannotRead(name string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	if name == "-" {
		name = "standard input"
	}
	return fmt.Errorf("cannot read %s: %w", name, err)
}
