package dag_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

func TestAPlanIsMadeAgainFromItsArchive(t *testing.T) {
	files, err := filepath.Glob("../examples/plans/*.json")
	require.NoError(t, err)
	more, err := filepath.Glob("../examples/plans/patterns/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range append(files, more...) {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		var opts []dag.Option
		if text, err := os.ReadFile(strings.TrimSuffix(file, ".json") + ".overlay.yaml"); err == nil {
			overlay, err := schema.ParseOverlay(text)
			require.NoError(t, err)
			opts = append(opts, dag.WithOverlay(overlay))
		}
		same(t, file, data, opts...)
	}
}

func TestAnArchiveKnowsBothDialectsAndManifests(t *testing.T) {
	same(t, "manifest", mustRead(t, "../schema/testdata/oomkill.workflowexecution.yaml"))
	same(t, "target", []byte(`{"recommendations":[{"id":"a","action":"scale_deployment","targetResource":{"kind":"Deployment","namespace":"shop","name":"cart"},"parameters":{"replicas":3},"timeout":"20m","risk":"high"}]}`))
}

func mustRead(t *testing.T, name string) []byte {
	data, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		found, _ := filepath.Glob("../*/testdata/oomkill*.yaml")
		deeper, _ := filepath.Glob("../examples/plans/*workflowexecution*")
		for _, f := range append(found, deeper...) {
			if data, err = os.ReadFile(f); err == nil {
				return data
			}
		}
	}
	require.NoError(t, err)
	return data
}

func same(t *testing.T, file string, data []byte, opts ...dag.Option) {
	t.Helper()
	reg := actions.Canonical()
	p, err := dag.Load(data, reg, opts...)
	require.NoError(t, err, file)
	archive, err := p.Archive()
	require.NoError(t, err, file)
	again, err := dag.Restore(archive, reg)
	require.NoError(t, err, file)
	require.Equal(t, p.Digest(), again.Digest(), file)
	require.Equal(t, p.Writers(), again.Writers(), file)
	require.Equal(t, p.DataEdges(), again.DataEdges(), file)
	require.Equal(t, p.Ranks(), again.Ranks(), file)
	require.Equal(t, p.ApprovalRequired(), again.ApprovalRequired(), file)
	for i := range p.Len() {
		a, b := p.Step(i), again.Step(i)
		require.Equal(t, p.StepDigest(i), again.StepDigest(i))
		require.Equal(t, a.Task(), b.Task())
		require.Equal(t, []any{a.Risk(), a.RiskReasons(), a.Label(), a.Name(), a.Note(), a.Always(), a.ContinueOnFailure(), a.Gate(), a.Artifact(), a.Rationale()},
			[]any{b.Risk(), b.RiskReasons(), b.Label(), b.Name(), b.Note(), b.Always(), b.ContinueOnFailure(), b.Gate(), b.Artifact(), b.Rationale()})
		ac, aok := a.Confidence()
		bc, bok := b.Confidence()
		require.Equal(t, ac, bc)
		require.Equal(t, aok, bok)
	}
	third, err := again.Archive()
	require.NoError(t, err)
	require.Equal(t, string(archive), string(third), file)
}

func archiveOf(t *testing.T, reg *actions.Registry, doc string) (*dag.Plan, []byte) {
	t.Helper()
	p, err := dag.Load([]byte(doc), reg)
	require.NoError(t, err)
	archive, err := p.Archive()
	require.NoError(t, err)
	return p, archive
}

func TestAnArchiveSaysWhichPartDiffers(t *testing.T) {
	reg := actions.Canonical()
	_, archive := archiveOf(t, reg, `{"recommendations":[{"id":"a","action":"scale_deployment","parameters":{"namespace":"shop","deployment":"cart","replicas":3}}]}`)
	for doc, want := range map[string]string{
		`{"recommendations":[{"id":"a","action":"scale_deployment","description":"other words","parameters":{"namespace":"shop","deployment":"cart","replicas":3}}]}`:                                                                       "",
		`{"recommendations":[{"id":"a","action":"scale_deployment","parameters":{"namespace":"shop","deployment":"cart","replicas":5}}]}`:                                                                                                   "step a: parameter replicas is 5, was 3",
		`{"recommendations":[{"id":"b","action":"scale_deployment","parameters":{"namespace":"shop","deployment":"cart","replicas":3}}]}`:                                                                                                   "step a is not there any more\nstep b was not there",
		`{"recommendations":[{"id":"a","action":"scale_deployment","timeout":"1m","requiresApproval":true,"risk":"critical","parameters":{"namespace":"shop","deployment":"cart","replicas":3}}]}`:                                          "step a: risk is critical, was low\nstep a: requiresApproval is true, was false\nstep a: time-out is 1m0s, was 5m0s",
		`{"recommendations":[{"id":"a","action":"scale_deployment","parameters":{"namespace":"shop","deployment":"cart","replicas":3}},{"id":"b","action":"notify_only","dependencies":["a"],"parameters":{"message":"m","channel":"c"}}]}`: "step b was not there",
	} {
		p, _ := archiveOf(t, reg, doc)
		err := p.Matches(archive)
		if want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
}

func ownRegistry(t *testing.T, description string, max int64) *actions.Registry {
	reg := &actions.Registry{}
	require.NoError(t, reg.Add(actions.Spec{Name: "own", Does: description, Parameters: []actions.Parameter{
		{Name: "n", Type: actions.Integer, Description: description, Max: &max}, {Name: "token", Type: actions.String, Description: "a token", Secret: true}}}))
	return reg
}

func TestAnArchiveKnowsWhatSpecsMeanButNotTheirProse(t *testing.T) {
	const doc = `{"recommendations":[{"id":"a","action":"own","parameters":{"n":3}}]}`
	_, archive := archiveOf(t, ownRegistry(t, "does something", 5), doc)
	p, _ := archiveOf(t, ownRegistry(t, "does it in other words", 5), doc)
	require.NoError(t, p.Matches(archive))
	p, _ = archiveOf(t, ownRegistry(t, "does something", 7), doc)
	require.ErrorContains(t, p.Matches(archive), `action own: parameter n is {`)
	_, err := dag.Restore(archive, ownRegistry(t, "does something", 7))
	require.ErrorContains(t, err, "action own")
}

func TestSecretsNeverReachAnArchive(t *testing.T) {
	reg := ownRegistry(t, "does something", 5)
	p, archive := archiveOf(t, reg, `{"recommendations":[{"id":"a","action":"own","parameters":{"n":3,"token":"hunter2"}}]}`)
	require.NotContains(t, string(archive), "hunter2")
	require.NoError(t, p.Matches(archive))
	_, err := dag.Restore(archive, reg)
	require.ErrorContains(t, err, "step a has the secret parameter token")
	other, _ := archiveOf(t, reg, `{"recommendations":[{"id":"a","action":"own","parameters":{"n":3,"token":"other"}}]}`)
	require.ErrorContains(t, other.Matches(archive), "step a")
	require.NotContains(t, other.Matches(archive).Error(), "hunter2")
	require.NotContains(t, other.Matches(archive).Error(), "other\"")
}

func TestADamagedArchiveIsRefused(t *testing.T) {
	reg := actions.Canonical()
	_, archive := archiveOf(t, reg, `{"recommendations":[{"id":"a","action":"scale_deployment","parameters":{"namespace":"shop","deployment":"cart","replicas":3}}]}`)
	for old, replaced := range map[string]string{
		`"format":1`: `"format":2`, `"replicas":3`: `"replicas":-3`, `"scale_deployment"`: `"scale_deploymint"`, `"id":"a"`: `"id":"a b"`, `sha256:`: `sha256:0`, `{"format`: `{{"format`, `"replicas":3}`: `"replicas":4}`,
	} {
		_, err := dag.Restore([]byte(strings.Replace(string(archive), old, replaced, 1)), reg)
		require.Error(t, err, old)
	}
}
