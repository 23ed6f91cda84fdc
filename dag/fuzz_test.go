package dag_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
)

// FuzzLoad holds that no text makes Load panic, that it says the same of the same text, and that a plan keeps the
// promises of its graph and reads back from its manifest.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{plansDir + "/*.json", plansDir + "/*.workflowexecution.yaml", "testdata/broken/*.json"} {
		files, err := filepath.Glob(pattern)
		require.NoError(f, err)
		require.NotEmpty(f, files)
		for _, file := range files {
			f.Add(read(f, file))
		}
	}
	reg := actions.Canonical()
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := dag.Load(data, reg)
		again, err2 := dag.Load(data, reg)
		if err != nil {
			require.Nil(t, p)
			require.EqualError(t, err2, err.Error())
			return
		}
		require.NoError(t, err2)
		require.Equal(t, p.Digest(), again.Digest())
		require.Empty(t, cmp.Diff(p.Warnings(), again.Warnings()))
		require.Len(t, p.Graph().Order(), p.Len())
		for i := range p.Len() {
			s := p.Step(i)
			require.GreaterOrEqual(t, s.Risk(), s.Spec().RiskFloor)
			for _, d := range s.Dependencies() {
				require.Less(t, p.Group(d), p.Group(i))
			}
		}
		text := p.Manifest("m", "", "", nil).YAML()
		back, err := dag.Load(text, reg)
		require.NoError(t, err, "%s", text)
		requireSamePlan(t, p, back, func(int) bool { return false })
	})
}
