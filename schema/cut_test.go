package schema_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/schema"
)

func readPlan(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../examples/plans", name))
	require.NoError(t, err)
	return data
}

var planFiles = []string{"oomkill.json", "cascading-failure.json", "alert-storm.json", "database-deadlock.json"}

func TestEveryCutOfThePlansIsRefused(t *testing.T) {
	for _, name := range planFiles {
		data := readPlan(t, name)
		last := bytes.LastIndexByte(data, '}')
		for _, wrap := range []struct{ before, after string }{
			{"", ""},
			{"Here is {the plan} [1]:\n\n", ""},
			{"```json\n", ""},
			{"Sure!\n```json\n", "\n```\nLet me know."},
		} {
			if wrap.before != "" && name != "alert-storm.json" {
				continue
			}
			for end := range last + 1 {
				cut := wrap.before + string(data[:end]) + wrap.after
				doc, err := schema.Parse([]byte(cut))
				if err == nil {
					t.Fatalf("%s cut at %d of %d is taken for a plan of %d steps (before: %q)", name, end, len(data), len(doc.Recommendations), wrap.before)
				}
				if wrap.before+wrap.after == "" && end > 0 && !hasCode(doc, schema.CodeTruncated) {
					t.Fatalf("%s cut at %d is not truncated: %v", name, end, err)
				}
			}
		}
	}
}

func hasCode(doc *schema.Document, code schema.Code) bool {
	for _, p := range doc.Problems {
		if p.Code == code {
			return true
		}
	}
	return false
}

var equalDocuments = []cmp.Option{
	cmpopts.IgnoreUnexported(schema.Document{}, schema.Recommendation{}),
	cmpopts.EquateEmpty(),
}

// FuzzParse holds for any input: no panic, every finding has its place; and for one that is a plan: it comes back the
// same through encoding/json, and no part of it that ends before its last bracket is a plan.
func FuzzParse(f *testing.F) {
	for _, name := range append(planFiles, "oomkill.workflowexecution.yaml") {
		f.Add(readPlan(f, name))
	}
	broken, _ := filepath.Glob("testdata/broken/*")
	for _, name := range broken {
		if data, err := os.ReadFile(name); err == nil && len(data) < 2_000 && filepath.Ext(name) != ".golden" {
			f.Add(data)
		}
	}
	f.Add([]byte("Here is {the plan}: [1]\n```\n[{\"stepNumber\": 1, \"action\": \"x\", \"parameters\": {\"a\": [1e3, \"...\", 2.5, null]}},]\n```"))
	f.Add([]byte(`{"steps":[{"id":"a","action":"x","parameters":{"l":[{"id":"b","action":"y"}]},"timeout":"5m","target":{"kind":"Pod","name":"n"}}]} # end`))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := schema.Parse(data)
		if doc == nil {
			t.Fatal("no document")
		}
		for _, p := range doc.Problems {
			if p.Line < 1 || p.Column < 1 || p.Message == "" || strings.ContainsAny(p.Message, "\n\x00") {
				t.Fatalf("%#v", p)
			}
		}
		for i := range doc.Recommendations {
			doc.Position(doc.Pointer(i, "parameters", doc.Recommendations[i].ParameterNames()...))
		}
		if _, strict := schema.Parse(data, schema.Strict()); err != nil && strict == nil {
			t.Fatal("strict reading takes what tolerant reading refuses")
		}
		if err != nil {
			return
		}
		if len(doc.Repairs) == 0 && doc.Workflow == nil && !json.Valid(bytes.TrimPrefix(data, []byte("\ufeff"))) {
			t.Fatal("not JSON, and nothing was repaired")
		}
		requireRoundTrip(t, doc)
		if doc.Workflow != nil || len(data) > 300 {
			return
		}
		for end := bytes.LastIndexAny(data, "}]"); end >= 0; end-- {
			cut, err := schema.Parse(data[:end])
			if err != nil {
				continue
			}
			if doc.Repairs == nil {
				t.Fatalf("a cut at %d is taken for a plan", end)
			}
			// Brackets of the text around a document may be cut off, but nothing of it.
			got, want := *cut, *doc
			got.Problems, got.Repairs, want.Problems, want.Repairs = nil, nil, nil, nil
			if diff := cmp.Diff(want, got, equalDocuments...); diff != "" {
				t.Fatalf("a cut at %d is taken for another plan: %s", end, diff)
			}
		}
	})
}

func requireRoundTrip(t *testing.T, doc *schema.Document) {
	t.Helper()
	want := *doc
	want.Problems, want.Repairs, want.Workflow = nil, nil, nil
	want.Recommendations = append([]schema.Recommendation(nil), doc.Recommendations...)
	for i := range want.Recommendations {
		want.Recommendations[i].Timeout = 0 // encoding/json writes a number of nanoseconds, which is no time-out here
	}
	data, err := json.Marshal(&want)
	require.NoError(t, err)
	again, err := schema.Parse(data, schema.Strict(), schema.WithLimits(schema.Limits{Bytes: 1 << 24}))
	require.NoError(t, err, "%s", data)
	got := *again
	got.Problems = nil
	if diff := cmp.Diff(want, got, equalDocuments...); diff != "" {
		t.Fatal(diff)
	}
}

func TestPlansComeBackTheSameThroughJSON(t *testing.T) {
	for _, name := range append(planFiles, "oomkill.workflowexecution.yaml") {
		doc, err := schema.Parse(readPlan(t, name))
		require.NoError(t, err)
		requireRoundTrip(t, doc)
	}
}

func TestPlainDocumentsReadAsEncodingJSONReadsThem(t *testing.T) {
	for _, name := range planFiles {
		data := readPlan(t, name)
		doc, err := schema.Parse(data)
		require.NoError(t, err)
		var want schema.Document
		if json.Unmarshal(data, &want) != nil {
			continue // alert-storm is not JSON
		}
		for i := range want.Recommendations {
			for name, v := range want.Recommendations[i].Parameters {
				if f, ok := v.(float64); ok && f == float64(int64(f)) {
					want.Recommendations[i].Parameters[name] = int64(f)
				}
			}
		}
		got := *doc
		got.Repairs = nil
		if diff := cmp.Diff(want, got, equalDocuments...); diff != "" {
			t.Error(diff)
		}
	}
}
