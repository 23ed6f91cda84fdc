package schema_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/remedykit/remedy/schema"
)

// bigDocument is a plain document of n steps, each depending on the two before it.
func bigDocument(n int) []byte {
	var b strings.Builder
	b.WriteString("{\n  \"recommendations\": [")
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		var deps []string
		for k := max(0, i-2); k < i; k++ {
			deps = append(deps, fmt.Sprintf("%q", fmt.Sprintf("rec-%05d", k)))
		}
		fmt.Fprintf(&b, `
    {
      "id": "rec-%05d",
      "action": "scale_deployment",
      "description": "Scale fraud-detection from 5 to 8 replicas",
      "confidence": 0.88,
      "parameters": {
        "deployment": "fraud-detection-service-%d",
        "namespace": "production",
        "replicas": 8,
        "waitForReady": true
      },
      "dependencies": [%s],
      "rationale": "Increase capacity to handle load",
      "risk": "low"
    }`, i, i, strings.Join(deps, ", "))
	}
	b.WriteString("\n  ],\n  \"estimatedDuration\": \"4 minutes\",\n  \"historicalSuccessRate\": 0.92\n}\n")
	return []byte(b.String())
}

// Parse finds every problem with its place; json.Unmarshal into the same structs is what it is held against.
func BenchmarkParse(b *testing.B) {
	for _, n := range []int{10, 100, 1_000, 10_000} {
		data := bigDocument(n)
		b.Run(fmt.Sprintf("Parse/%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := schema.Parse(data, schema.WithLimits(schema.Limits{Steps: n, Bytes: len(data)})); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("Unmarshal/%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				var d schema.Document
				if err := json.Unmarshal(data, &d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
