package journal_test

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/executor/journal"
	"github.com/remedykit/remedy/executor/journal/journaltest"
)

// TestAReadOnlyFolderIsSaid has a folder that may be read only, by somebody else than root.
func TestAReadOnlyFolderIsSaid(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	require.NoError(t, os.Mkdir(dir, 0o755))
	for _, above := range []string{filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} {
		require.NoError(t, os.Chmod(above, 0o755))
	}
	j := open(t, dir)
	first := journaltest.Chain("old", 1, journal.Record{}, 1)
	require.NoError(t, j.Append(t.Context(), first...))
	require.NoError(t, os.Chmod(dir, 0o555))
	t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })

	if root := os.Geteuid(); root == 0 {
		runtime.LockOSThread()
		require.NoError(t, syscall.Setfsuid(65534))
		defer runtime.UnlockOSThread()
		defer func() { _ = syscall.Setfsuid(root) }()
	}
	err := j.Append(t.Context(), journaltest.Chain("new", 1, journal.Record{}, 1)...)
	require.ErrorIs(t, err, os.ErrPermission)
	require.ErrorContains(t, err, dir)
	_, err = journal.Open(filepath.Join(dir, "below"), journal.Options{})
	require.ErrorIs(t, err, os.ErrPermission)
	require.ErrorContains(t, err, dir)
}
