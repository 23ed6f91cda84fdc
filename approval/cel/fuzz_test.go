package cel_test

import (
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval/cel"
)

// A condition is refused with a place in its text, or can be asked.
func FuzzCompile(f *testing.F) {
	for _, when := range []string{
		`step.action == "drain_node" && risk >= high`, `has(step.parameters.replicas) && step.parameters.replicas > 10`,
		`plan.actions.exists(a, a.matches("^(x+)+$"))`, `time.getHours("Europe/Berlin") < 6`, `confidence < 0.8 ? true : false`,
		`[1, 2].map(a, [a].map(b, b)).size() > 0`, `{"a": 1}.a == 1`, `dyn(step).x == 1`, `Step{id: "x"} == step`, `risk in [low, high]`,
		`b"\xff" == bytes("x")`, `type(risk) == Risk`, `string(step.timeout) == "x"`, "", "(", `"\u202e" == ''`, "step . id != '\n'",
	} {
		f.Add(when, false)
		f.Add(when, true)
	}
	p := incident(f, "cascading-failure")
	f.Fuzz(func(t *testing.T, when string, plan bool) {
		c, err := cel.Compile(when, plan)
		if err != nil {
			var at interface{ Position() (line, column int) }
			require.True(t, errors.As(err, &at), "%v", err)
			line, column := at.Position()
			require.Positive(t, line)
			require.Positive(t, column)
			require.LessOrEqual(t, column, utf8.RuneCountInString(when)+1)
			require.NotContains(t, err.Error(), "\n")
			return
		}
		number := 4
		if plan {
			number = 0
		}
		held, err := c.Holds(subject(p, number))
		require.False(t, held && err != nil)
	})
}
