// Package artifact keeps the files that steps leave: heap dumps, backups, bundles of logs.
//
// A file belongs to a run and has the name that the plan gives it, by which later steps attach it. [Folder] keeps files on
// disk; a [Store] of one's own puts them elsewhere, such as into an object store.
package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"

	"github.com/remedykit/remedy/actions"
)

// ErrNotFound says that there is no such file.
var ErrNotFound = errors.New("no such artifact")

// A Store keeps files. It must be safe for concurrent use.
type Store interface {
	// Put keeps what content has until io.EOF under a name of a run, in the place of what was there. When it returns an
	// error nothing is kept, and what was there stays.
	Put(ctx context.Context, run, name string, content io.Reader) (actions.Artifact, error)
	// Open reads a file back. The error wraps ErrNotFound when there is none.
	Open(ctx context.Context, run, name string) (io.ReadCloser, error)
}

// Folder is a Store on disk: each run has a folder in dir, made when it is needed and readable only for its owner.
func Folder(dir string) Store { return folder(dir) }

type folder string

// wellFormed is what ids of runs and names may be; neither leaves the folder.
var wellFormed = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,200}$`)

func (f folder) path(run, name string) (string, error) {
	if !wellFormed.MatchString(run) || !wellFormed.MatchString(name) {
		return "", fmt.Errorf("artifact %q of run %q: a name has letters, digits, and . _ - inside", name, run)
	}
	return filepath.Abs(filepath.Join(string(f), run, name))
}

func (f folder) Put(ctx context.Context, run, name string, content io.Reader) (a actions.Artifact, err error) {
	path, err := f.path(run, name)
	if err != nil {
		return a, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return a, fmt.Errorf("artifact: %w", err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".writing-")
	if err != nil {
		return a, fmt.Errorf("artifact: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(file, sum), untilDone{ctx, content})
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return a, fmt.Errorf("artifact %s: %w", name, err)
	}
	if err := errors.Join(os.Rename(file.Name(), path), synced(filepath.Dir(path)), synced(filepath.Dir(filepath.Dir(path)))); err != nil {
		return a, fmt.Errorf("artifact: %w", err)
	}
	where := url.URL{Scheme: "file", Path: filepath.ToSlash(path)}
	return actions.Artifact{Name: name, URI: where.String(), SHA256: hex.EncodeToString(sum.Sum(nil)), Size: size}, nil
}

// synced puts on disk which files a folder has: what is kept is there after a loss of power too.
func synced(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f folder) Open(_ context.Context, run, name string) (io.ReadCloser, error) {
	path, err := f.path(run, name)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s of run %s: %w", name, run, ErrNotFound)
	}
	return file, err
}

// untilDone reads until a context ends.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(p)
}
