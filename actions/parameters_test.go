package actions_test

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/remedykit/remedy/actions"
)

func TestGettersGiveWhatTheDocumentSaysElseTheDefault(t *testing.T) {
	res, _ := resolve(t, "enable_debug_mode", `{"namespace":"a","deployment":"d","debugFlags":["-v"],"env":{"A":"1"},"stableFor":"1m"}`, "")
	p := res.Parameters
	require.Equal(t, 5, p.Len())
	require.True(t, p.Given("namespace"))
	require.False(t, p.Given("duration"))
	require.Equal(t, "a", p.String("namespace"))
	require.Equal(t, []string{"-v"}, p.Strings("debugFlags"))
	require.Equal(t, map[string]string{"A": "1"}, p.Get("env"))
	require.Equal(t, time.Minute, p.Duration("stableFor"))
	require.Equal(t, time.Hour, p.Duration("duration"), "default")
	require.True(t, p.Bool("autoRevert"), "default")
	require.Nil(t, p.Get("statefulset"))
	require.Nil(t, p.Get("unheardOf"))

	res, _ = resolve(t, "restart_pod", `{"namespace":"a","pod":"p"}`, "")
	require.Equal(t, int64(30), res.Parameters.Int("gracePeriodSeconds"))
	res, _ = resolve(t, "cleanup_storage", `{"namespace":"a","pod":"p","path":"/x"}`, "")
	require.Equal(t, 7*24*time.Hour, res.Parameters.Duration("ageThreshold"))
	res, _ = resolve(t, "rollback_deployment", `{"namespace":"a","deployment":"d"}`, "")
	require.Equal(t, "previous", res.Parameters.Get("revision"))
	require.Zero(t, res.Parameters.Int("revision"), "the word is no number")
}

func TestGettersOfAnotherTypeGiveZero(t *testing.T) {
	p := actions.NewParameters(map[string]any{"s": "text", "n": 3, "mixed": []any{"a", 1}, "list": []any{"a"}, "d": 90 * time.Second})
	require.Zero(t, p.String("n"))
	require.Zero(t, p.Int("s"))
	require.Zero(t, p.Bool("s"))
	require.Zero(t, p.Duration("s"))
	require.Nil(t, p.Strings("s"))
	require.Nil(t, p.Strings("mixed"))
	require.Equal(t, []string{"a"}, p.Strings("list"))
	require.Equal(t, 90*time.Second, p.Duration("d"))
	require.Equal(t, int64(3), p.Int("n"))
	var none actions.Parameters
	require.Zero(t, none.Len())
	require.Nil(t, none.Get("x"))
	require.Equal(t, "{}", string(none.AppendJSON(nil)))
}

func TestParametersCannotBeChanged(t *testing.T) {
	m := map[string]any{"list": []string{"a"}, "deep": map[string]any{"x": []any{"y"}}, "env": map[string]string{"k": "v"}}
	p := actions.NewParameters(m)
	before := string(p.AppendJSON(nil))
	m["list"].([]string)[0] = "changed"
	m["deep"].(map[string]any)["x"].([]any)[0] = "changed"
	p.Strings("list")[0] = "changed"
	p.Get("deep").(map[string]any)["x"] = "changed"
	p.Get("env").(map[string]string)["k"] = "changed"
	for _, v := range p.All() {
		if l, ok := v.([]string); ok {
			l[0] = "changed"
		}
	}
	require.Equal(t, before, string(p.AppendJSON(nil)))
}

func TestAllIsSortedAndCanBeLeft(t *testing.T) {
	p := actions.NewParameters(map[string]any{"c": 1, "a": 2, "b": 3})
	var names []string
	for name := range p.All() {
		names = append(names, name)
		if name == "b" {
			break
		}
	}
	require.Equal(t, []string{"a", "b"}, names)
}

func TestManyParametersAreFound(t *testing.T) {
	m := map[string]any{}
	for c := 'a'; c <= 'z'; c++ {
		m[string(c)] = int64(c)
	}
	p := actions.NewParameters(m)
	for c := 'a'; c <= 'z'; c++ {
		require.Equal(t, int64(c), p.Int(string(c)))
	}
	require.False(t, p.Given("A"))
	require.False(t, p.Given("zz"))
}

func TestCanonicalJSON(t *testing.T) {
	p := actions.NewParameters(map[string]any{
		"a": "q\"\\/<>&\u2028\u2029é\x00\x1f\x7f\b\f\n\r\t\xff!", "b": 3.0, "c": math.Copysign(0, -1), "d": 1e20, "e": 1e21, "f": 0.1, "g": int8(-5), "h": uint64(math.MaxUint64),
		"i": json.Number("12"), "j": json.Number("1.50"), "k": nil, "l": []any{}, "m": map[string]any{"b": 1, "a": []string{"x", "y"}}, "n": math.NaN(),
		"o": float32(0.5), "p": uint(7), "q": map[string]string{"z": "1", "y": "2"}, "r": time.Minute, "s": struct{ X int }{1}, "t": func() {}, "u": math.Inf(1),
	})
	require.Equal(t, `{"a":"q\"\\/<>&\u2028\u2029é\u0000\u001f`+"\x7f"+`\b\f\n\r\t\ufffd!","b":3,"c":0,"d":100000000000000000000,"e":1e+21,"f":0.1,"g":-5,"h":18446744073709551615,`+
		`"i":12,"j":1.5,"k":null,"l":[],"m":{"a":["x","y"],"b":1},"n":null,"o":0.5,"p":7,"q":{"y":"2","z":"1"},"r":"1m0s","s":{"X":1},"t":null,"u":null}`,
		string(p.AppendJSON(nil)))
	require.True(t, json.Valid(p.AppendJSON(nil)))
	b, err := json.Marshal(p)
	require.NoError(t, err)
	require.NotEmpty(t, b)
	require.Equal(t, `x{}`, string(actions.Parameters{}.AppendJSON([]byte("x"))))
}

func TestCanonicalJSONAgreesWithEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.MapOf(rapid.String(), rapid.OneOf(rapid.String().AsAny(), rapid.Float64().Filter(isNoNegativeZero).AsAny(), rapid.Int64().AsAny(), rapid.Bool().AsAny(),
			rapid.SliceOf(rapid.String()).AsAny(), rapid.MapOf(rapid.String(), rapid.String()).AsAny())).Draw(t, "parameters")
		ours := actions.NewParameters(m).AppendJSON(nil)
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(m); err != nil {
			t.Fatal(err)
		}
		var want, got any
		if err := json.Unmarshal(b.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(ours, &got); err != nil {
			t.Fatalf("%v: %s", err, ours)
		}
		wantAgain, _ := json.Marshal(want)
		gotAgain, _ := json.Marshal(got)
		if !bytes.Equal(wantAgain, gotAgain) {
			t.Fatalf("want %s\ngot  %s", wantAgain, gotAgain)
		}
		if !slices.Equal(ours, actions.NewParameters(m).AppendJSON(nil)) {
			t.Fatal("equal parameters give other bytes")
		}
	})
}

// A negative zero is written as 0, and encoding/json keeps its sign.
func isNoNegativeZero(f float64) bool { return f != 0 || !math.Signbit(f) }

type debugParams struct {
	Namespace   string            `json:"namespace"`
	Deployment  string            `json:"deployment"`
	StatefulSet *string           `json:"statefulset"`
	DebugFlags  []string          `json:"debugFlags"`
	Env         map[string]string `json:"env"`
	Duration    time.Duration     `json:"duration"`
	StableFor   *time.Duration    `json:"stableFor"`
	AutoRevert  bool              `json:"autoRevert"`
}

func TestDecodeFillsAStruct(t *testing.T) {
	res, _ := resolve(t, "enable_debug_mode", `{"namespace":"a","deployment":"d","debugFlags":["-v"],"env":{"A":"1"},"duration":"7d","reason":"r"}`, "")
	var got debugParams
	require.NoError(t, res.Parameters.Decode(&got))
	ten := 10 * time.Second
	require.Equal(t, debugParams{Namespace: "a", Deployment: "d", DebugFlags: []string{"-v"}, Env: map[string]string{"A": "1"},
		Duration: 7 * 24 * time.Hour, StableFor: &ten, AutoRevert: true}, got)

	var numbers struct {
		embedded
		Small int8    `json:"small"`
		Maybe *int64  `json:"maybe"`
		Ratio float64 `json:"ratio"`
		Text  string  // by its own name
		Skip  string  `json:"-"`
	}
	require.NoError(t, actions.NewParameters(map[string]any{"small": 3.0, "maybe": 4, "ratio": 0.5, "Text": "x", "inner": 2 * time.Second}).Decode(&numbers))
	require.Equal(t, int8(3), numbers.Small)
	require.Equal(t, int64(4), *numbers.Maybe)
	require.Equal(t, 0.5, numbers.Ratio)
	require.Equal(t, "x", numbers.Text)
	require.Equal(t, 2*time.Second, numbers.Inner)
}

type embedded struct {
	Inner time.Duration `json:"inner"`
}

func TestDecodeIsStrict(t *testing.T) {
	p := func(m map[string]any) actions.Parameters { return actions.NewParameters(m) }
	type one struct {
		N    int8          `json:"n"`
		D    time.Duration `json:"d"`
		Skip string        `json:"-"`
	}
	require.ErrorContains(t, p(map[string]any{"x": 1}).Decode(&one{}), "parameter x has no field in actions_test.one")
	require.ErrorContains(t, p(map[string]any{"Skip": "1"}).Decode(&one{}), "parameter Skip has no field")
	require.ErrorContains(t, p(map[string]any{"n": "3"}).Decode(&one{}), "do not fit")
	require.ErrorContains(t, p(map[string]any{"n": 300}).Decode(&one{}), "do not fit")
	require.ErrorContains(t, p(map[string]any{"n": 2.5}).Decode(&one{}), "do not fit")
	require.ErrorContains(t, p(map[string]any{"d": "soon"}).Decode(&one{}), "parameter d")
	require.ErrorContains(t, p(nil).Decode(one{}), "a pointer to a struct, not a actions_test.one")
	require.ErrorContains(t, p(nil).Decode(nil), "a pointer to a struct")
	require.NoError(t, p(map[string]any{"reason": "x"}).Decode(&one{}), "reason may go without a field")

	res, _ := resolve(t, "cordon_node", `{"node":"n"}`, "")
	require.NoError(t, res.Parameters.Decode(&struct {
		Node string `json:"node"`
	}{}))
	res, _ = resolve(t, "uncordon_node", `{"node":"n"}`, "")
	require.ErrorContains(t, res.Parameters.Decode(&struct {
		Node string `json:"node"`
	}{}), "verifyHealth has no field", "a default that nobody reads is a mistake too")
}
