// Package sealed keeps what a rollback needs and nobody may read: the former values of Secrets and ConfigMaps. A journal
// has only a reference to it, and a hash.
package sealed

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrNotFound says that nothing was sealed under a name.
var ErrNotFound = errors.New("nothing is sealed under this name")

// A Store keeps secret data by name. It must be safe for concurrent use. What Seal has kept survives the process when it
// returns.
type Store interface {
	// Seal keeps data, in the place of what was there.
	Seal(ctx context.Context, name string, data []byte) error
	// Open returns it. The error wraps ErrNotFound when there is nothing.
	Open(ctx context.Context, name string) ([]byte, error)
}

// KeySize is the length of a key of Folder.
const KeySize = 32

// ParseKey reads a key as an environment variable has it: 32 bytes in base64, such as openssl rand -base64 32 prints.
func ParseKey(s string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(key) != KeySize {
		return nil, errors.New("sealed: a key is 32 bytes in base64: make one with openssl rand -base64 32")
	}
	return key, nil
}

// Folder is a Store on disk: files that only their owner can read, encrypted with AES-256-GCM under a key of KeySize bytes.
// A file that was changed, or was put in another's place, is refused.
func Folder(dir string, key []byte) (Store, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("sealed: the key has %d bytes, not %d", len(key), KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("sealed: %w", err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("sealed: %w", err)
	}
	return &folder{dir, gcm}, nil
}

type folder struct {
	dir string
	gcm cipher.AEAD
}

// path does not tell the name, which may be anything.
func (f *folder) path(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(f.dir, hex.EncodeToString(sum[:])+".sealed")
}

func (f *folder) Seal(ctx context.Context, name string, data []byte) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("sealed: %w", err)
	}
	file, err := os.CreateTemp(f.dir, ".sealing-")
	if err != nil {
		return fmt.Errorf("sealed: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	_, err = file.Write(f.gcm.Seal(nil, nil, data, []byte(name)))
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("sealed: %w", err)
	}
	if err = os.Rename(file.Name(), f.path(name)); err != nil {
		return fmt.Errorf("sealed: %w", err)
	}
	return syncFolder(f.dir)
}

// syncFolder makes the new name durable, too.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sealed: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sealed: %w", err)
	}
	return nil
}

func (f *folder) Open(_ context.Context, name string) ([]byte, error) {
	data, err := os.ReadFile(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%q: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("sealed: %w", err)
	}
	plain, err := f.gcm.Open(nil, nil, data, []byte(name))
	if err != nil {
		return nil, fmt.Errorf("sealed: %q was changed, or sealed with another key", name)
	}
	return plain, nil
}
