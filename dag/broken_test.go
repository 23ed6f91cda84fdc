package dag_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

// TestBuild_reports_every_problem_at_its_place holds what is said of each document in testdata/broken against
// broken.golden, one line per problem and repair.
func TestBuild_reports_every_problem_at_its_place(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var got bytes.Buffer
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		doc, _ := schema.Parse(read(t, file))
		p, err := dag.Build(doc, actions.Canonical())
		fmt.Fprintf(&got, "== %s\n", name)
		for _, problem := range doc.Problems {
			fmt.Fprintf(&got, "%s:%s\n", name, problem)
		}
		for _, r := range doc.Repairs {
			fmt.Fprintf(&got, "%s:%d:%d: repair: %s: %s\n", name, r.Line, r.Column, r.Kind, r.Message)
		}
		if err != nil {
			require.Nil(t, p)
			continue
		}
		for i := range p.Len() {
			if s := p.Step(i); len(s.RiskReasons()) > 0 {
				fmt.Fprintf(&got, "%s %s\n", s.ID(), strings.Join(s.RiskReasons(), "; "))
			}
		}
		for _, group := range p.Writers() {
			fmt.Fprintf(&got, "writers %s\n", numbers([][]int{group}))
		}
	}
	const golden = "testdata/broken.golden"
	if *update {
		require.NoError(t, os.WriteFile(golden, got.Bytes(), 0o644))
	}
	require.Equal(t, string(read(t, golden)), got.String())
}
