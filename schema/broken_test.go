package schema_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/schema"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Every document in testdata/broken has the fault that its name says; beside it stands what Parse makes of it, one
// problem or repair a line.
func TestBrokenDocumentsAreReportedInFull(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*")
	require.NoError(t, err)
	n := 0
	for _, file := range files {
		if filepath.Ext(file) == ".golden" {
			continue
		}
		n++
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			var opts []schema.Option
			if strings.HasPrefix(filepath.Base(file), "strict-") {
				opts = append(opts, schema.Strict())
			}
			doc, err := schema.Parse(data, opts...)
			require.NotNil(t, doc)
			require.Equal(t, doc.Err() != nil, err != nil)
			got := render(doc)
			if *update {
				require.NoError(t, os.WriteFile(file+".golden", []byte(got), 0o644))
			}
			want, err := os.ReadFile(file + ".golden")
			require.NoError(t, err)
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
			require.NotEmpty(t, doc.Problems, "nothing is wrong with it")
			for _, p := range doc.Problems {
				requirePlaced(t, doc, p.Pointer, p.Line, p.Column)
			}
			for _, r := range doc.Repairs {
				requirePlaced(t, doc, r.Pointer, r.Line, r.Column)
			}
		})
	}
	require.GreaterOrEqual(t, n, 60)
}

// requirePlaced holds that a finding lies at or behind the start of the value that its pointer names.
func requirePlaced(t *testing.T, doc *schema.Document, pointer string, line, column int) {
	t.Helper()
	require.Positive(t, line)
	require.Positive(t, column)
	if pointer == "" {
		return
	}
	l, c := doc.Position(pointer)
	near := line > l || line == l && column >= c
	// What is wrong with a name stands at the name, in front of its value.
	require.True(t, near || l-line <= 1, "%s starts at %d:%d, the finding is at %d:%d", pointer, l, c, line, column)
}

func render(doc *schema.Document) string {
	var b strings.Builder
	for _, p := range doc.Problems {
		b.WriteString(p.String())
		if p.Pointer != "" {
			b.WriteString(" @ " + p.Pointer)
		}
		if p.Step != "" {
			b.WriteString(" [" + p.Step + "]")
		}
		b.WriteByte('\n')
	}
	for _, r := range doc.Repairs {
		b.WriteString(repairLine(r) + "\n")
	}
	return b.String()
}
