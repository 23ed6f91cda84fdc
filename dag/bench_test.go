package dag_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

// largeDocument has n steps like those of the incidents, each with up to two dependencies.
func largeDocument(n int) []byte {
	kinds := []string{
		`"action": "collect_diagnostics", "parameters": {"type": "heap_dump", "deployment": "service-%d", "namespace": "production"}, "risk": "low"`,
		`"action": "increase_resources", "parameters": {"deployment": "service-%d", "namespace": "production", "memory": "3Gi"}, "risk": "low"`,
		`"action": "rolling_restart_pods", "parameters": {"statefulset": "service-%d", "namespace": "production", "strategy": "one-at-a-time"}, "risk": "medium", "requiresApproval": true`,
		`"action": "health_check", "parameters": {"services": ["service-%d"], "namespace": "production", "endpoint": "/health", "expectedStatus": 200}, "risk": "none"`,
	}
	var b strings.Builder
	b.WriteString("{\n  \"recommendations\": [")
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n    {\n      \"id\": \"rec-%05d\",\n      \"description\": \"Step %d of a long remediation of the payment services\",\n      \"confidence\": 0.95,\n      ", i, i)
		fmt.Fprintf(&b, kinds[i%len(kinds)], i)
		b.WriteString(",\n      \"dependencies\": [")
		if i > 0 {
			fmt.Fprintf(&b, `"rec-%05d"`, i-1-i%3*min(1, i/4))
		}
		if i > 10 {
			fmt.Fprintf(&b, `, "rec-%05d"`, i/2)
		}
		b.WriteString("],\n      \"rationale\": \"Because of what the investigation found before this step\"\n    }")
	}
	b.WriteString("\n  ],\n  \"estimatedDuration\": \"4 minutes\",\n  \"historicalSuccessRate\": 0.92\n}\n")
	return []byte(b.String())
}

// BenchmarkLoad reads and builds documents beside a plain json.Unmarshal into the same structs.
func BenchmarkLoad(b *testing.B) {
	reg := actions.Canonical()
	limits := dag.Reading(schema.WithLimits(schema.Limits{Steps: 1 << 20, Bytes: 1 << 30}))
	for _, n := range []int{10, 100, 1_000, 10_000} {
		data := largeDocument(n)
		run := func(name string, f func() error) {
			b.Run(fmt.Sprintf("%s/steps=%d", name, n), func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				for b.Loop() {
					require.NoError(b, f())
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/step")
			})
		}
		run("Load", func() error { _, err := dag.Load(data, reg, limits); return err })
		run("Parse", func() error {
			_, err := schema.Parse(data, schema.WithLimits(schema.Limits{Steps: 1 << 20, Bytes: 1 << 30}))
			return err
		})
		run("Unmarshal", func() error { return json.Unmarshal(data, new(schema.Document)) })
	}
}
