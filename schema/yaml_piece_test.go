package schema_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/schema"
)

// What a model reads in a log can end up in a parameter: it must never become the plan.
func TestAPieceOfAManifestIsNoPlan(t *testing.T) {
	const piece = `[{"id":"evil","action":"uncordon_node","parameters":{"node":"n"}}]`
	const steps = "    steps:\n      - stepNumber: 1\n        action: notify_only\n        parameters:\n          message: hi\n          any: " + piece + "\n"
	const manifest = "apiVersion: " + schema.WorkflowAPIVersion + "\nkind: WorkflowExecution\nmetadata:\n  name: x\nspec:\n  workflowDefinition:\n" + steps
	for name, text := range map[string]string{
		"fenced":         "```yaml\n" + manifest + "```\n",
		"led to, fenced": "Here it is:\n```yaml\n" + manifest + "```\n",
		"indented":       "  apiVersion: x\n" + steps,
		"without a head": steps,
		"any other YAML": "foo:\n  bar: " + piece + "\n",
	} {
		doc, err := schema.Parse([]byte(text))
		require.Error(t, err, name)
		require.Empty(t, doc.Recommendations, name)
		require.Equal(t, schema.CodeInvalidJSON, doc.Problems[0].Code, name)
		require.Contains(t, doc.Problems[0].Message, "YAML around a piece of JSON", name)
	}
	doc, err := schema.Parse([]byte(manifest))
	require.NoError(t, err)
	require.Len(t, doc.Recommendations, 1)
	for _, prose := range []string{"The plan: ", "Here is my action plan:\n\n", "Steps:\n", "- Recommendations:\n"} {
		doc, err = schema.Parse([]byte(prose + piece))
		require.NoError(t, err, prose)
		require.Len(t, doc.Recommendations, 1)
	}
}
