package render_test

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/dag/render"
	"github.com/remedykit/remedy/schema"
)

func TestBoxIs43WideAndGrowsWithItsLongestLine(t *testing.T) {
	require.Equal(t, 43, boxWidths(t, render.Box(sketch{deps: chain(3)}.build(t), render.View{})))

	label := strings.Repeat("x", 60)
	s := sketch{deps: chain(3), steps: map[int]schema.StepOverlay{1: {Label: label}}}
	got := render.Box(s.build(t), render.View{})
	require.Equal(t, len("│ Step 2: ")-2+60+2, boxWidths(t, got))
	require.Contains(t, got, "│ Step 2: "+label+" │\n")

	wide := sketch{deps: chain(2), steps: map[int]schema.StepOverlay{0: {Label: strings.Repeat("é⚠️", 20)}}}
	require.Equal(t, 2+len("Step 1: ")+60+2, boxWidths(t, render.Box(wide.build(t), render.View{})))
}

// boxWidths is the width that all box lines of a drawing share; arrows must stand below the joints of the boxes.
func boxWidths(t *testing.T, drawing string) int {
	t.Helper()
	width := 0
	for line := range strings.Lines(drawing) {
		line = strings.TrimSuffix(line, "\n")
		r := []rune(line)
		switch {
		case line == "":
			return width
		case strings.Contains(line, "↓"):
			require.Equal(t, strings.Repeat(" ", 18)+"↓", line)
		case strings.Contains(line, "┬"):
			require.Equal(t, '┬', r[18])
			fallthrough
		default:
			if width == 0 {
				width = len(r)
			}
			require.Len(t, r, width, line)
			require.Contains(t, "┌│└", string(r[0]))
			require.Contains(t, "┐│┘", string(r[width-1]))
		}
	}
	t.Fatal("a drawing has totals below")
	return 0
}

func TestBoxWritesSharedDependenciesOnceAndOthersUnderTheirStep(t *testing.T) {
	shared := render.Box(sketch{deps: [][]int{{}, {0}, {0}}, gated: map[int]bool{1: true}}.build(t), render.View{})
	require.Contains(t, shared, ""+
		"│ Step 2: probe (parallel) (APPROVAL GATE) ⚠️ │\n"+
		"│   Risk: None                                │\n"+
		"│ Step 3: probe (parallel)                    │\n"+
		"│   Dependencies: [1]                         │\n")
	own := render.Box(sketch{deps: [][]int{{}, {}, {0}, {0, 1}}}.build(t), render.View{})
	require.Contains(t, own, ""+
		"│ Step 3: probe (parallel)                │\n"+
		"│   Dependencies: [1]                     │\n"+
		"│ Step 4: probe (parallel)                │\n"+
		"│   Dependencies: [1, 2]                  │\n")
	many := render.Box(sketch{deps: fan(60)}.build(t), render.View{})
	require.Less(t, boxWidths(t, many), 110, "a long list goes on in the next line")
	require.Contains(t, many, " 60, 61] ")
}

func TestTotalsSayOnlyWhatIsKnown(t *testing.T) {
	p := sketch{deps: chain(3)}.build(t)
	require.True(t, strings.HasSuffix(render.Box(p, render.View{}), "┘\n\nTotal Steps: 3\n"))
	require.Equal(t, "Step 1: probe\n    ↓\nStep 2: probe\n    ↓\nStep 3: probe\n\nTotal Steps: 3\n", render.Tree(p, render.View{}))

	open := render.Box(incident(t, "cascading-failure"), render.View{})
	require.True(t, strings.HasSuffix(open, "\n\nTotal Steps: 9 (1 parallel group)\nEstimated Duration: 5 minutes\nHistorical Success Rate: 89%\n"), open)
	whole := render.Box(incident(t, "cascading-failure"), render.View{PlanGated: true})
	require.Contains(t, whole, "Estimated Duration: 5 minutes (without approval delay)\n")
	require.Contains(t, whole, "│ Plan (APPROVAL GATE) ⚠️")
}

func TestTreeSavingsReadNicely(t *testing.T) {
	for _, c := range []struct {
		saved time.Duration
		want  string
	}{
		{400 * time.Millisecond, ""},
		{time.Second, "~1 second"},
		{45 * time.Second, "~45 seconds"},
		{59700 * time.Millisecond, "~1 minute"},
		{time.Minute, "~1 minute"},
		{80 * time.Second, "~1.3 minutes"},
		{90 * time.Second, "~1.5 minutes"},
		{10 * time.Minute, "~10 minutes"},
		{59*time.Minute + 58*time.Second, "~1 hour"},
		{90 * time.Minute, "~1.5 hours"},
	} {
		s := sketch{deps: [][]int{{}, {}}, steps: map[int]schema.StepOverlay{0: {Duration: c.saved}, 1: {Duration: c.saved}}}
		got := render.Tree(s.build(t), render.View{})
		if c.want == "" {
			require.NotContains(t, got, "Savings")
			continue
		}
		require.Contains(t, got, "Parallel Savings: "+c.want+"\n")
	}
}

func TestTreeShapes(t *testing.T) {
	for _, c := range []struct {
		name string
		deps [][]int
	}{
		{"single", [][]int{{}}},
		{"roots", [][]int{{}, {}, {0, 1}}},
		{"only-roots", [][]int{{}, {}, {}}},
		{"chains-apart", [][]int{{}, {}, {0}, {1}, {2}}},
		{"fan-at-the-end", [][]int{{}, {0}, {0}, {0}}},
		{"chain-in-the-last-branch", [][]int{{}, {0}, {0}, {2}, {1, 3}}},
		{"chain-in-the-first-branch", [][]int{{}, {0}, {0}, {1}, {2, 3}}},
		{"nested", [][]int{{}, {0}, {0}, {1}, {1}, {3, 4}, {2, 5}}},
		{"branch-begins-with-branches", [][]int{{}, {}, {}, {0, 1}, {2, 3}}},
		{"crossing", [][]int{{}, {}, {0}, {0, 1}, {2, 3}}},
		{"both-wait-for-both", [][]int{{}, {0}, {0}, {1, 2}, {1, 2}, {3, 4}}},
		{"leaf-beside-a-chain", [][]int{{}, {0}, {0}, {2}}},
		{"redundant-dependency", [][]int{{}, {0}, {0, 1}}},
		{"diamonds", [][]int{{}, {0}, {0}, {1, 2}, {3}, {3}, {4, 5}, {6}, {6}, {7, 8}, {9}, {9}, {10, 11}, {12}, {12}, {13, 14}, {15}, {15}, {16, 17}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := sketch{deps: c.deps}.build(t)
			got := render.Tree(p, render.View{})
			golden(t, "tree/"+c.name+".txt", got)
			checkTree(t, p, got)
		})
	}
}

func TestDeepNestingEndsInDependencyLines(t *testing.T) {
	const depth = 60
	deps := [][]int{{}, {}} // step 2 stands apart from all that follows
	for i, trunk := 0, 0; i < depth; i++ {
		n := len(deps)
		deps = append(deps, []int{trunk}, []int{trunk}, []int{n}) // two branches, the first of them goes on
		trunk = n + 2
	}
	joins := [][]int{{}}
	for range depth {
		n := len(joins)
		joins = append(joins, []int{}, []int{n - 1, n})
	}
	for _, deps := range [][][]int{deps, joins} {
		p := sketch{deps: deps}.build(t)
		got := render.Tree(p, render.View{})
		checkTree(t, p, got)
		for line := range strings.Lines(got) {
			require.Less(t, utf8.RuneCountInString(line), 400)
		}
	}
}

func TestStateMarkAndPlanGateStandBesideTheSteps(t *testing.T) {
	p := incident(t, "oomkill")
	v := render.View{Marked: true, Mark: 3, PlanGated: true, State: func(i int) string {
		return []string{"succeeded", "succeeded", "succeeded", "waitingApproval", "", "", ""}[i]
	}}
	for _, f := range formats {
		golden(t, "live."+f.ext, f.draw(p, v))
		require.Equal(t, f.draw(p, render.View{}), f.draw(p, render.View{Mark: 3, State: func(int) string { return "" }}),
			"nothing is drawn that is not set")
		require.Equal(t, f.draw(p, render.View{}), f.draw(p, render.View{Mark: -1, Marked: true}))
	}
}

func TestTheRiskIsThatOfTheView(t *testing.T) {
	p := incident(t, "oomkill")
	v := render.View{Risk: func(i int) schema.Risk {
		if i == 3 {
			return schema.RiskCritical
		}
		return p.Step(i).Risk()
	}}
	const critical = "Risk: Critical|critical risk|risk critical"
	for _, f := range formats {
		require.NotRegexp(t, critical, f.draw(p, render.View{}), f.ext)
		require.Regexp(t, critical, f.draw(p, v), f.ext)
	}
}

// hostile is text that means something to some format or to a terminal.
const hostile = "a\"b'<script>alert(1)</script></text>]]>-->\"]; node[`x`](http://e.vil) #quot; %%{init}%% \\N \\\" & &lt; {x|y}\n;\x1b[31m\u202e\u200b\x00\x7f\ufeff end"

func hostilePlan(t tester) *dag.Plan {
	return sketch{
		deps:  chain(2),
		steps: map[int]schema.StepOverlay{0: {Label: hostile, Note: hostile}, 1: {Note: hostile}},
		gated: map[int]bool{1: true},
	}.build(t)
}

func TestHostileTextStaysText(t *testing.T) {
	p := hostilePlan(t)
	v := render.View{State: func(int) string { return hostile }, PlanGated: true}
	run := render.Run{Status: hostile, PlanGate: render.Span{Gated: true, Answered: true, By: hostile},
		Spans: []render.Span{{Step: 0, Started: true, Status: hostile, Reason: hostile}, {Step: 1, Gated: true, Answered: true, By: hostile, Status: hostile, Reason: hostile}}}
	drawings := map[string]string{"timeline": render.Timeline(p, run)}
	for _, f := range formats {
		drawings[f.ext] = f.draw(p, v)
	}
	for name, got := range drawings {
		require.True(t, utf8.ValidString(got), name)
		for _, r := range got {
			require.False(t, r != '\n' && r < ' ' || r >= 0x7f && r < 0xa0 || strings.ContainsRune("\u202e\u200b\ufeff", r), "%s holds %U", name, r)
		}
	}
	require.NotContains(t, drawings["svg"], "<script")
	require.NotContains(t, drawings["svg"], "</text>]]")
	checkXML(t, drawings["svg"])
	checkMermaid(t, drawings["mmd"])
	checkDOT(t, drawings["dot"])
	boxWidths(t, drawings["box.txt"])
}

func TestFloodsAreCut(t *testing.T) {
	s := sketch{deps: chain(2), steps: map[int]schema.StepOverlay{0: {Label: strings.Repeat("long ", 10_000)}}}
	for _, f := range formats {
		require.Less(t, len(f.draw(s.build(t), render.View{})), 10_000, f.ext)
	}
	require.Contains(t, render.Box(s.build(t), render.View{}), "…")
}

var (
	mermaidLine = regexp.MustCompile(`^(flowchart TD` +
		`|  (plan|s\d+)(\["[^"<>` + "`" + `]*(<br/>[^"<>` + "`" + `]*)*"\]|\(\["[^"<>]*<br/>[^"<>]*"\]\))(:::\w+)?` +
		`|  (plan|s\d+) --> s\d+|  s\d+ -\.->\|"[^"<>]*"\| s\d+|  classDef \w+ [\w:#,\- ]+)$`)
	dotLine = regexp.MustCompile(`^(digraph plan \{|\}|  (graph|node|edge) \[[^\]]*\]` +
		`|  (plan|s\d+) \[label="([^"\\]|\\["\\n])*"(, color="#\w+", penwidth=\d)?\]` +
		`|  (plan|s\d+) -> s\d+( \[style=dashed, constraint=false, label="([^"\\]|\\["\\])*"\])?)$`)
)

func checkMermaid(t tester, got string) {
	for line := range strings.Lines(got) {
		require.Regexp(t, mermaidLine, strings.TrimSuffix(line, "\n"))
	}
}

func checkDOT(t tester, got string) {
	for line := range strings.Lines(got) {
		require.Regexp(t, dotLine, strings.TrimSuffix(line, "\n"))
	}
}
