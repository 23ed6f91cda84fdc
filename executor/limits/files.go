//go:build unix

package limits

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// retryLock is how long Update waits before it tries again to get a lock that another has.
const retryLock = 2 * time.Millisecond

// files keeps each value in a file of its own, whose name is the hash of the key. Beside it are a file that is locked
// during an Update, which is never removed because another process may be about to lock it, and for a moment the file of
// the value to come.
type files struct {
	root *os.Root
}

// OpenFiles returns a Store that keeps its values in a folder, which is made when it is missing. Several processes may
// share it, on a local file system. Its files are for their owner only.
//
// A value is durable when Update returns nil. When a process is killed in an Update the value is the old one or the new
// one, and no lock stays behind. A file that was damaged is an error that names it, until it is removed; then it is
// forgotten what it held.
func OpenFiles(dir string) (Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	return &files{root}, nil
}

func (f *files) Update(ctx context.Context, key string, change func(old []byte) ([]byte, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(key))
	name := hex.EncodeToString(sum[:])
	lock, err := f.lock(ctx, name+".lock")
	if err != nil {
		return f.failed(name+".lock", err)
	}
	defer lock.Close()
	old, err := f.read(name, key)
	if err != nil {
		return f.failed(name, err)
	}
	value, err := change(bytes.Clone(old))
	if err != nil {
		return err
	}
	switch {
	case (value == nil) == (old == nil) && bytes.Equal(value, old):
		return nil
	case value == nil:
		if err = f.root.Remove(name); err == nil {
			err = f.root.Remove(name + ".lock")
		}
	default:
		err = f.write(name, key, value)
	}
	if err == nil {
		err = f.syncFolder()
	}
	if err != nil {
		return f.failed(name, err)
	}
	return nil
}

func (f *files) failed(name string, err error) error {
	return fmt.Errorf("limits: %s: %w", filepath.Join(f.root.Name(), name), err)
}

// lock returns a file that is locked until it is closed or the process ends.
func (f *files) lock(ctx context.Context, name string) (*os.File, error) {
	file, err := f.root.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil && f.is(file, name) {
			return file, nil
		}
		if err == nil { // who had it removed it
			file.Close()
			if file, err = f.root.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
				return nil, err
			}
			continue
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, fmt.Errorf("another has the lock: %w", ctx.Err())
		case <-time.After(retryLock):
		}
	}
}

// is tells whether an open file is the one of a name.
func (f *files) is(file *os.File, name string) bool {
	open, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := f.root.Lstat(name)
	return err == nil && os.SameFile(open, named)
}

// read returns the value in a file, nil when there is no file. In the file a line with the hash of the rest comes first,
// then a line with the key.
func (f *files) read(name, key string) ([]byte, error) {
	data, err := f.root.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	hash, rest, _ := bytes.Cut(data, []byte("\n"))
	sum := sha256.Sum256(rest)
	value, ok := bytes.CutPrefix(rest, []byte(strconv.Quote(key)+"\n"))
	if !ok || string(hash) != hex.EncodeToString(sum[:]) {
		return nil, errors.New("the file is damaged; nothing is allowed until it is restored, or removed to forget what it held")
	}
	return value, nil
}

// write puts a value into the place of the old one, at once.
func (f *files) write(name, key string, value []byte) error {
	rest := append([]byte(strconv.Quote(key)+"\n"), value...)
	sum := sha256.Sum256(rest)
	data := append([]byte(hex.EncodeToString(sum[:])+"\n"), rest...)
	// Who has the lock is alone here; a process that was killed may have left its file.
	next := name + ".tmp"
	if err := f.root.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := f.root.OpenFile(next, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = f.root.Rename(next, name)
	}
	if err != nil {
		_ = f.root.Remove(next)
	}
	return err
}

// syncFolder makes durable which files there are.
func (f *files) syncFolder() error {
	folder, err := f.root.Open(".")
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}
