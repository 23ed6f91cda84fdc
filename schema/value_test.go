package schema_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/schema"
)

func TestNumbersKeepTheirValue(t *testing.T) {
	for text, want := range map[string]any{
		"8": int64(8), "8.0": int64(8), "8e0": int64(8), "80e-1": int64(8), "0.8E+1": int64(8), "1.5e1": int64(15),
		"-0": int64(0), "-0.0": int64(0), "0e999999999999": int64(0), "-12.50e1": int64(-125),
		"9007199254740993": int64(9007199254740993), "9007199254740993.0": int64(9007199254740993),
		"9223372036854775807": int64(9223372036854775807), "-9223372036854775808": int64(-9223372036854775808),
		"1e18": int64(1e18), "1e19": 1e19,
		"0.5": 0.5, "2.5": 2.5, "-1e-7": -1e-7, "1e308": 1e308,
	} {
		doc, err := schema.Parse([]byte(`{"recommendations": [{"id": "a", "action": "x", "parameters": {"n": ` + text + `}}]}`))
		require.NoError(t, err, text)
		require.Equal(t, want, doc.Recommendations[0].Parameters["n"], text)
	}
}

func TestAWholeNumberThatWouldLoseDigitsIsRefused(t *testing.T) {
	for _, text := range []string{"9223372036854775808", "-9223372036854775809", "12345678901234567890123"} {
		_, err := schema.Parse([]byte(`{"recommendations": [{"id": "a", "action": "x", "parameters": {"n": ` + text + `}}]}`))
		require.ErrorContains(t, err, `1:69: error: invalid-value: the whole number "`+text+`" does not fit into 64 bits`)
	}
}

func TestValuesOfParametersArePlainGo(t *testing.T) {
	doc, err := schema.Parse([]byte(`[{"id": "a", "action": "x", "parameters": {"s": "\"\\\/\u00e9\ud834\udd1e", "t": true, "f": false, "n": null,
		"l": [1, "...", [], {"a": null}], "o": {"x": {"y": "z"}}, "targetResource": {"kind": "Pod", "name": "p"}}}]`))
	require.NoError(t, err)
	require.Equal(t, map[string]any{
		"s": "\"\\/é𝄞", "t": true, "f": false, "n": nil,
		"l": []any{int64(1), []any{}, map[string]any{"a": nil}}, "o": map[string]any{"x": map[string]any{"y": "z"}},
		"targetResource": map[string]any{"kind": "Pod", "name": "p"},
	}, doc.Recommendations[0].Parameters)
	require.Nil(t, doc.Recommendations[0].Target)
}

func TestApprovalHasThreeStates(t *testing.T) {
	doc, err := schema.Parse([]byte(`[{"id": "a", "action": "x"}, {"id": "b", "action": "x", "requiresApproval": false}, {"id": "c", "action": "x", "requiresApproval": true}]`))
	require.NoError(t, err)
	require.Nil(t, doc.Recommendations[0].RequiresApproval)
	require.False(t, *doc.Recommendations[1].RequiresApproval)
	require.True(t, *doc.Recommendations[2].RequiresApproval)
}

func TestEstimatesAreReadAsPeopleWriteThem(t *testing.T) {
	const m = time.Minute
	for text, want := range map[string][2]time.Duration{
		"4 minutes": {4 * m, 4 * m}, "4-5 minutes": {4 * m, 5 * m}, "4–5 minutes": {4 * m, 5 * m}, "4 - 5 min": {4 * m, 5 * m},
		"5m30s": {5*m + 30*time.Second, 5*m + 30*time.Second}, "~5 min": {5 * m, 5 * m}, "90s": {90 * time.Second, 90 * time.Second},
		"1-2 hours": {time.Hour, 2 * time.Hour}, "1h": {time.Hour, time.Hour}, "2 to 3 minutes": {2 * m, 3 * m}, "about 10 minutes": {10 * m, 10 * m},
		"1 hour 30 minutes": {90 * m, 90 * m}, "1 hour and 30 minutes": {90 * m, 90 * m}, "90s-2m": {90 * time.Second, 2 * m},
		"1.5h": {90 * m, 90 * m}, "500ms": {m / 120, m / 120}, "2 Days": {48 * time.Hour, 48 * time.Hour}, "30 secs to 1 minute": {30 * time.Second, m},
		"5 µs": {5 * time.Microsecond, 5 * time.Microsecond}, "7ns": {7, 7},
	} {
		got, err := schema.ParseEstimate(text)
		require.NoError(t, err, text)
		require.Equal(t, schema.Estimate{Text: text, Min: want[0], Max: want[1]}, got)
	}
	for _, text := range []string{"", "soon", "an hour", "about an hour", "5", "4-5", "minutes", "-5 minutes", "5-4 minutes", "1h-", "5 parsecs", "1..5h", "1 hour and", "4-5m30s6",
		"1e5h", "99999999999 days", "4 minutes, or 5", strings.Repeat("1h", 60)} {
		_, err := schema.ParseEstimate(text)
		require.ErrorContains(t, err, "is no duration such as", text)
	}
}

func TestAnEstimateIsItsTextInJSON(t *testing.T) {
	for text, want := range map[string]schema.Estimate{
		`"4-5 minutes"`: {Text: "4-5 minutes", Min: 4 * time.Minute, Max: 5 * time.Minute},
		`"soon"`:        {Text: "soon"},
		`""`:            {},
	} {
		var got schema.Estimate
		require.NoError(t, json.Unmarshal([]byte(text), &got))
		require.Equal(t, want, got)
		data, err := json.Marshal(got)
		require.NoError(t, err)
		require.Equal(t, text, string(data))
	}
	for want, e := range map[string]schema.Estimate{`"4m0s"`: {Min: 4 * time.Minute, Max: 4 * time.Minute}, `"1m0s-2m0s"`: {Min: time.Minute, Max: 2 * time.Minute}} {
		data, err := json.Marshal(e)
		require.NoError(t, err)
		require.Equal(t, want, string(data))
	}
}

func TestDurationsAreGoOrDays(t *testing.T) {
	for text, want := range map[string]time.Duration{"5m": 5 * time.Minute, "1m30s": 90 * time.Second, "7d": 7 * 24 * time.Hour, "0": 0, "1.5h": 90 * time.Minute, "500ms": time.Second / 2} {
		got, err := schema.ParseDuration(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
	for text, want := range map[string]string{"": "is no duration", "5": "is no duration", "4 minutes": "is no duration", "-5m": "negative", "-7d": "whole number of days", "1.5d": "whole number of days",
		"d": "whole number of days", "999999999d": "whole number of days"} {
		_, err := schema.ParseDuration(text)
		require.ErrorContains(t, err, want, text)
	}
}

func TestRisksAreWords(t *testing.T) {
	for _, r := range []schema.Risk{schema.RiskNone, schema.RiskLow, schema.RiskMedium, schema.RiskHigh, schema.RiskCritical} {
		got, err := schema.ParseRisk(strings.ToUpper(r.String()))
		require.NoError(t, err)
		require.Equal(t, r, got)
		data, err := json.Marshal(r)
		require.NoError(t, err)
		var back schema.Risk
		require.NoError(t, json.Unmarshal(data, &back))
		require.Equal(t, r, back)
	}
	require.Empty(t, schema.RiskUnset.String())
	r := schema.RiskLow
	require.NoError(t, r.UnmarshalText(nil))
	require.Equal(t, schema.RiskUnset, r)
	_, err := schema.ParseRisk("extreme")
	require.ErrorContains(t, err, "none of none, low, medium, high, critical")
}

func TestTargetsAreNamedAsPeopleNameThem(t *testing.T) {
	require.Equal(t, "Node n1", schema.Target{Kind: "Node", Name: "n1"}.String())
	require.Equal(t, "Pod shop/web", schema.Target{Kind: "Pod", Namespace: "shop", Name: "web"}.String())
}

// Whatever is sent, reading it costs time and memory in proportion to the limit, and ends in a problem.
func TestHostileInputIsRefusedQuickly(t *testing.T) {
	wide := schema.WithLimits(schema.Limits{Bytes: 200 << 20, Depth: 1 << 20})
	step := `{"id":"a","action":"x"}`
	for _, tc := range []struct {
		name, text string
		opts       []schema.Option
		code       schema.Code
	}{
		{"100 MB", strings.Repeat(" ", 100<<20), nil, schema.CodeLimitExceeded},
		{"a million steps", "[" + strings.Repeat(step+",", 1_000_000) + step + "]", []schema.Option{wide}, schema.CodeLimitExceeded},
		{"a million brackets", strings.Repeat("[", 1_000_000), nil, schema.CodeLimitExceeded},
		{"many brackets, allowed", strings.Repeat("[", 100_000), []schema.Option{wide}, schema.CodeTruncated},
		{"many brackets, closed", strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), []schema.Option{wide}, schema.CodeInvalidValue},
		{"prose of brackets", strings.Repeat("{x", 1<<19), nil, schema.CodeInvalidJSON},
		{"prose of lists", strings.Repeat("[1 ", 1<<18), nil, schema.CodeInvalidJSON},
		{"fences", strings.Repeat("```\n{x\n", 1<<17), nil, schema.CodeInvalidJSON},
		{"fences within one line", "x " + strings.Repeat("``` ", 1<<18-100) + "{", nil, schema.CodeTruncated},
		{"one name many times", `{"recommendations":[{` + strings.Repeat(`"a":1,`, 50_000) + `"b":2}]}`, nil, schema.CodeDuplicateKey},
		{"long names around many faults", `{"` + strings.Repeat("k", 400_000) + `":{` + strings.Repeat(`"a":1,`, 20_000) + `"b":2}}`, nil, schema.CodeDuplicateKey},
		{"placeholders", `{"recommendations":[` + strings.Repeat(`"...",`, 200) + `{"id":"a","action":"x","parameters":{"l":[` + strings.Repeat(`"...",`, 30_000) + `1]}}]}`, nil, schema.CodeLimitExceeded},
		{"comments", strings.Repeat("#\n", 1<<16), nil, schema.CodeInvalidJSON},
		{"one long YAML line", "kind: [" + strings.Repeat("1,", 50_000) + "1]", nil, schema.CodeInvalidValue},
		{"deep YAML", "kind: " + strings.Repeat("[", 500_000), nil, schema.CodeInvalidJSON},
		{"a YAML bomb", "kind: &a [x]\nspec: &b [" + strings.Repeat("*a,", 1000) + "]\nstatus: [" + strings.Repeat("*b,", 1000) + "]\n", nil, schema.CodeInvalidValue},
	} {
		t.Run(tc.name, func(t *testing.T) {
			doc, err := schema.Parse([]byte(tc.text), tc.opts...)
			require.Error(t, err)
			require.True(t, hasCode(doc, tc.code), "%v", doc.Problems[0])
			require.LessOrEqual(t, len(doc.Problems), 1001)
			require.LessOrEqual(t, len(doc.Repairs), 32*schema.DefaultMaxSteps)
			size := 0
			for _, p := range doc.Problems {
				size += len(p.Pointer) + len(p.Message)
			}
			for _, r := range doc.Repairs {
				size += len(r.Pointer) + len(r.Message)
			}
			require.Less(t, size, 1<<21)
		})
	}
}

// A plan is not refused because the other dialect is spelled differently all over.
func TestTheLargestPlanMayBeInTheOtherDialect(t *testing.T) {
	var b strings.Builder
	for i := range schema.DefaultMaxSteps {
		fmt.Fprintf(&b, `{"stepNumber": %d, "action_type": "x", "target": {"Kind": "Pod", "Name": "p", "Namespace": "n"}, "params": {"l": ["..."]},
			"deps": [], "why": "w", "risk_level": "low", "prob": 1, "requires_approval": false,}, # %d`+"\n", i+1, i)
	}
	doc, err := schema.Parse([]byte("[" + b.String() + "]"))
	require.NoError(t, err)
	require.Empty(t, doc.Problems)
	require.Equal(t, 2+15*schema.DefaultMaxSteps, len(doc.Repairs))
}

// However much there is to say, it is said in the order of the document, and what is left out is an error.
func TestMoreThanCanBeListedIsAnError(t *testing.T) {
	text := `{"recommendations": [{"id": "a", "action": "x"` + strings.Repeat(",\n\"a\": 1", 1500) + "}, {}]}" + strings.Repeat("#\n", 9000)
	doc, err := schema.Parse([]byte(text))
	require.Error(t, err)
	require.Equal(t, 32*schema.DefaultMaxSteps, len(doc.Repairs))
	require.Equal(t, 1001, len(doc.Problems))
	last := doc.Problems[1000]
	require.Equal(t, schema.CodeLimitExceeded, last.Code)
	require.Equal(t, 502, last.Line) // a line with a name again has two
	_, err = schema.Parse([]byte("[{\"id\": \"a\", \"action\": \"x\"}]" + strings.Repeat("#\n", 9000)))
	require.EqualError(t, err, "8192:1: error: limit-exceeded: 809 problems and repairs from here on are not listed; mend those that are first")
}

func TestLimitsCanBeMoved(t *testing.T) {
	const text = `{"recommendations": [{"id": "a", "action": "x"}, {"id": "b", "action": "x"}]}`
	for limits, want := range map[schema.Limits]string{
		{Steps: 1}:             "1:50: error: limit-exceeded: the document has more than the 1 steps allowed",
		{Bytes: len(text) - 1}: fmt.Sprintf("1:1: error: limit-exceeded: the input has more than the %d bytes allowed", len(text)-1),
		{Depth: 2}:             "1:22: error: limit-exceeded: objects and lists are nested more than 2 deep",
	} {
		_, err := schema.Parse([]byte(text), schema.WithLimits(limits))
		require.EqualError(t, err, want)
	}
	_, err := schema.Parse([]byte(text), schema.WithLimits(schema.Limits{Steps: 2, Bytes: len(text), Depth: 3}))
	require.NoError(t, err)
}
