package dag_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
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

// BenchmarkHostile holds that what a hostile document costs grows with its size: ns/byte must not grow from one size to
// the other, whatever limits the caller sets.
func BenchmarkHostile(b *testing.B) {
	list := func(steps int, step func(i int) string) string {
		var s strings.Builder
		for i := range steps {
			fmt.Fprintf(&s, `{"id": "%d", %s},`, i, step(i))
		}
		return "[" + strings.TrimSuffix(s.String(), ",") + "]"
	}
	shapes := map[string]func(size int) string{
		"fences in a line": func(size int) string { return "x" + strings.Repeat(" ```", size/4) },
		"unknown parameters": func(size int) string {
			return list(1, func(int) string { return `"action": "restart_pod", "parameters": {` + members(size/12) + `}` })
		},
		"unknown fields": func(size int) string {
			return list(1, func(int) string { return members(size/12) + `, "action": "drain_node"` })
		},
		"missing": func(size int) string {
			return list(1, func(int) string {
				return `"action": "notify_only", "dependencies": ["1"` + strings.Repeat(`,"2"`, size/4) + `]`
			})
		},
		"faults in all steps": func(size int) string {
			return list(size/1200, func(int) string {
				return `"action": "health_check", "parameters": {` + members(60) + `}, "dependencies": ["0"` + strings.Repeat(`,"1"`, 60) + `]`
			})
		},
		"writers of one object": func(size int) string {
			return list(size/800, func(i int) string {
				return fmt.Sprintf(`"action": "cordon_node", "parameters": {"node": "n%d"}, "dependencies": [%s]`, i%20, earlier(i))
			})
		},
		"restarts of one workload": func(size int) string {
			return list(size/800, func(i int) string {
				return fmt.Sprintf(`"action": "restart_pod", "parameters": {"namespace": "n", "deployment": "d%d"}, "dependencies": [%s]`, i%20, earlier(i))
			})
		},
	}
	reg := actions.Canonical()
	limits := dag.Reading(schema.WithLimits(schema.Limits{Steps: 1 << 20, Bytes: 1 << 30}))
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		for _, size := range []int{1 << 18, 1 << 20, 1 << 22} {
			data := []byte(shapes[name](size))
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				for b.Loop() {
					_, _ = dag.Load(data, reg, limits)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(data)), "ns/byte")
			})
		}
	}
}

func members(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, `"p%06d": %d,`, i, i%10)
	}
	return strings.TrimSuffix(s.String(), ",")
}

// earlier names the steps before step i of the same parity, up to a hundred.
func earlier(i int) string {
	var ids []string
	for k := i - 2; k >= max(0, i-200); k -= 2 {
		ids = append(ids, fmt.Sprintf(`"%d"`, k))
	}
	return strings.Join(ids, ",")
}
