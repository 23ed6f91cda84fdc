package artifact_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/artifact"
)

func TestAFileIsKeptAndReadBack(t *testing.T) {
	dir := t.TempDir()
	s := artifact.Folder(dir)
	a, err := s.Put(t.Context(), "run-1", "heap_dump_rec-001", strings.NewReader("hello"))
	require.NoError(t, err)
	require.Equal(t, actions.Artifact{Name: "heap_dump_rec-001", URI: "file://" + dir + "/run-1/heap_dump_rec-001", Size: 5,
		SHA256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}, a)
	r, err := s.Open(t.Context(), "run-1", "heap_dump_rec-001")
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, errors.Join(err, r.Close()))
	require.Equal(t, "hello", string(data))
	_, err = s.Open(t.Context(), "run-2", "heap_dump_rec-001")
	require.ErrorIs(t, err, artifact.ErrNotFound)
	info, err := os.Stat(filepath.Join(dir, "run-1", a.Name))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode(), "dumps hold secrets")
}

func TestAFileThatCannotBeReadToItsEndIsNotKept(t *testing.T) {
	dir := t.TempDir()
	s := artifact.Folder(dir)
	_, err := s.Put(t.Context(), "r", "a", strings.NewReader("before"))
	require.NoError(t, err)
	_, err = s.Put(t.Context(), "r", "a", io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("the pod died"))))
	require.ErrorContains(t, err, "the pod died")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("cancelled by ann"))
	_, err = s.Put(ctx, "r", "a", strings.NewReader("late"))
	require.ErrorContains(t, err, "cancelled by ann")
	entries, err := os.ReadDir(filepath.Join(dir, "r"))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing half is left")
	data, err := os.ReadFile(filepath.Join(dir, "r", "a"))
	require.NoError(t, err)
	require.Equal(t, "before", string(data))
}

func TestANameDoesNotLeaveTheFolder(t *testing.T) {
	s := artifact.Folder(t.TempDir())
	for _, name := range []string{"", "..", "../a", "a/b", ".hidden", "-a", "a\x00"} {
		_, err := s.Put(t.Context(), "r", name, strings.NewReader(""))
		require.ErrorContains(t, err, "a name has letters", name)
		_, err = s.Open(t.Context(), name, "a")
		require.ErrorContains(t, err, "a name has letters", name)
	}
}
