package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/internal/controlplane/kubetest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestMain lets the test binary be the program, for tests that need a process of their own.
func TestMain(m *testing.M) {
	if os.Getenv("REMEDY_TEST_MAIN") != "" {
		main()
	}
	time.Local = time.UTC
	state, err := os.MkdirTemp("", "remedy-test-")
	if err != nil {
		panic(err)
	}
	os.Setenv("XDG_STATE_HOME", state)
	code := kubetest.Main(m)
	os.RemoveAll(state)
	os.Exit(code)
}

type result struct {
	code           int
	stdout, stderr string
}

// remedy runs a command line in this process.
func remedy(ctx context.Context, stdin io.Reader, args ...string) result {
	if len(args) > 0 && args[0] == "run" && !slices.Contains(args, "--journal") && !slices.Contains(args, "--help") {
		dir, err := os.MkdirTemp(os.Getenv("XDG_STATE_HOME"), "journal-") // tests share ids of runs
		if err != nil {
			panic(err)
		}
		args = append(slices.Clone(args), "--journal", dir)
	}
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, stdin, &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// ok runs a command line that must succeed and say nothing on standard error.
func ok(t *testing.T, args ...string) string {
	t.Helper()
	r := remedy(t.Context(), strings.NewReader(""), args...)
	require.Equal(t, exitOK, r.code, "%s%s", r.stdout, r.stderr)
	require.Empty(t, r.stderr)
	return r.stdout
}

// golden compares with a file in testdata, and rewrites it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// file writes a temporary file.
func file(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

const plans = "../plans/"

// An incident is one of the four plans with what its analysis and its people say.
type incident struct {
	name, confidence, approvalAfter   string
	makespan, early, work, wait, save float64
}

var incidents = []incident{
	{"oomkill", "0.725", "1m", 430, 370, 460, 60, 90},
	{"cascading-failure", "0.85", "0s", 330, 330, 420, 0, 90},
	{"alert-storm", "0.90", "0s", 460, 460, 470, 0, 10},
	{"database-deadlock", "0.92", "1m30s", 370, 280, 340, 90, 60},
}

// with is a command about an incident.
func (i incident) with(command string, flags ...string) []string {
	args := []string{command, plans + i.name + ".json", "--overlay", plans + i.name + ".overlay.yaml"}
	if command != "validate" {
		args = append(args, "--confidence", i.confidence)
	}
	return append(args, flags...)
}

// run is a run of an incident at twice the speed.
func (i incident) run(flags ...string) []string {
	return i.with("run", append([]string{"--handlers", "simulated", "--time-scale", "0.5"}, flags...)...)
}
