package sealed_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions/sealed"
)

func key(t *testing.T, b byte) []byte {
	t.Helper()
	return bytes.Repeat([]byte{b}, sealed.KeySize)
}

func TestWhatIsSealedComesBackAndNobodyReadsIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	s, err := sealed.Folder(dir, key(t, 1))
	require.NoError(t, err)
	_, err = s.Open(t.Context(), "run/step")
	require.ErrorIs(t, err, sealed.ErrNotFound)
	require.NoError(t, s.Seal(t.Context(), "run/step", []byte("former")))
	require.NoError(t, s.Seal(t.Context(), "run/step", []byte("hunter2")))
	data, err := s.Open(t.Context(), "run/step")
	require.NoError(t, err)
	require.Equal(t, "hunter2", string(data))
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NotContains(t, files[0].Name(), "run")
	raw, err := os.ReadFile(filepath.Join(dir, files[0].Name()))
	require.NoError(t, err)
	require.NotContains(t, string(raw), "hunter2")
}

func TestAChangedMovedOrForeignFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	s, err := sealed.Folder(dir, key(t, 1))
	require.NoError(t, err)
	require.NoError(t, s.Seal(t.Context(), "a", []byte("one")))
	files, _ := os.ReadDir(dir)
	name := filepath.Join(dir, files[0].Name())
	raw, err := os.ReadFile(name)
	require.NoError(t, err)
	other, err := sealed.Folder(dir, key(t, 2))
	require.NoError(t, err)
	_, err = other.Open(t.Context(), "a")
	require.ErrorContains(t, err, "sealed with another key")
	require.NoError(t, s.Seal(t.Context(), "b", []byte("two")))
	files, _ = os.ReadDir(dir)
	for _, f := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, f.Name()), raw, 0o600))
	}
	_, err = s.Open(t.Context(), "b")
	require.ErrorContains(t, err, "was changed", "a's file in b's place")
	raw[len(raw)-1] ^= 1
	require.NoError(t, os.WriteFile(name, raw, 0o600))
	_, err = s.Open(t.Context(), "a")
	require.ErrorContains(t, err, "was changed")
}

func TestABadKeyOrFolderIsSaid(t *testing.T) {
	_, err := sealed.Folder("x", []byte("short"))
	require.ErrorContains(t, err, "5 bytes, not 32")
	for _, bad := range []string{"", "short", "not base64!"} {
		_, err = sealed.ParseKey(bad)
		require.ErrorContains(t, err, "openssl rand -base64 32")
	}
	good, err := sealed.ParseKey("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	s, err := sealed.Folder(file, good)
	require.NoError(t, err)
	require.Error(t, s.Seal(t.Context(), "a", nil))
	_, err = s.Open(t.Context(), "a")
	require.Error(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Seal(ctx, "a", nil), context.Canceled)
}
