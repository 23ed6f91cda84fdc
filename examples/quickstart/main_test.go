package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestQuickstartDrawsAndRunsItsPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		require.NoError(t, run(t.Context(), &out))
		require.Contains(t, out.String(), "│ Step 3: scale_deployment                │\n")
		for _, id := range []string{"1 evidence", "2 config", "3 scale", "4 verify"} {
			require.Contains(t, out.String(), "  "+id+" succeeded\n")
		}
	})
}

func TestQuickstartStaysShort(t *testing.T) {
	source, err := os.ReadFile("main.go")
	require.NoError(t, err)
	require.Less(t, strings.Count(string(source), "\n"), 60)
}
