package render_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/dag/render"
)

// drawSketch makes an acyclic plan whose document order is not a topological one.
func drawSketch(t *rapid.T) sketch {
	n := rapid.IntRange(1, 40).Draw(t, "steps")
	place := rapid.Permutation(upTo(n)).Draw(t, "places")
	s := sketch{deps: make([][]int, n), gated: map[int]bool{}}
	for k := 1; k < n; k++ {
		for range rapid.IntRange(0, 3).Draw(t, "count") {
			from := place[rapid.IntRange(0, k-1).Draw(t, "from")]
			if !slices.Contains(s.deps[place[k]], from) {
				s.deps[place[k]] = append(s.deps[place[k]], from)
			}
		}
	}
	for i := range n {
		s.gated[i] = rapid.IntRange(0, 5).Draw(t, "gate") == 0
	}
	return s
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func TestEveryDrawingNamesEveryStepOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := drawSketch(rt)
		p := s.build(t)
		v := render.View{PlanGated: rapid.Bool().Draw(rt, "plan gate"), Marked: true, Mark: rapid.IntRange(-1, p.Len()).Draw(rt, "mark")}
		for _, f := range formats {
			got := f.draw(p, v)
			require.Equal(rt, got, f.draw(p, v), "%s differs when drawn again", f.ext)
			for i := range p.Len() {
				require.Equal(rt, 1, strings.Count(got, fmt.Sprintf("Step %d: ", i+1)), "%s: step %d in\n%s", f.ext, i+1, got)
			}
		}
		checkMermaid(rt, render.Mermaid(p, v))
		checkDOT(rt, render.DOT(p, v))
		svg := render.SVG(p, v)
		checkXML(rt, svg)
		checkPicture(rt, svg)
		checkTree(rt, p, render.Tree(p, render.View{Gated: func(int) bool { return false }}))
		line := render.Timeline(p, rehearse(p, nil))
		for i := range p.Len() {
			require.Equal(rt, 1, strings.Count(line, fmt.Sprintf("Step %d: ", i+1)), line)
		}
	})
}

var (
	treeStep = regexp.MustCompile(`Step (\d+): `)
	treeDeps = regexp.MustCompile(`^[│ ]*(  Dependencies: \[?)?(\d+[\d, ]*|none)\]?$`)
)

// readTree reads the dependencies back from a drawing, as a person does: what stands below an arrow waits for what is
// above it, a branch for what it leaves, what stands below branches for all that nothing in them waits for; a
// dependency line says it outright. Explicit tells which steps have such a line.
func readTree(t require.TestingT, drawing string) (deps map[int][]int, explicit map[int]bool) {
	type open struct{ base, members []int }
	deps, explicit = map[int][]int{}, map[int]bool{}
	fans := map[int]*open{}
	below := map[int][]int{} // by column: what comes next waits for these
	arrow, last := -1, 0
	for text := range strings.Lines(drawing) {
		line := []rune(strings.TrimSuffix(text, "\n"))
		if len(line) == 0 {
			return deps, explicit
		}
		if k := slices.Index(line, '↓'); k >= 0 {
			arrow = k
			continue
		}
		if m := treeDeps.FindStringSubmatch(string(line)); m != nil {
			if m[1] != "" {
				deps[last] = nil
			}
			explicit[last] = true
			for _, word := range strings.FieldsFunc(m[2], func(r rune) bool { return r < '0' || r > '9' }) {
				n, err := strconv.Atoi(word)
				require.NoError(t, err)
				deps[last] = append(deps[last], n)
			}
			continue
		}
		m := treeStep.FindStringSubmatch(string(line))
		require.NotNil(t, m, drawing)
		n, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		last = n
		column := len([]rune(strings.SplitN(string(line), "Step ", 2)[0]))
		base, marked := []int(nil), false
		var closing []int
		for k, r := range line[:column] {
			if !strings.ContainsRune("├└┬", r) {
				continue
			}
			if fans[k] == nil {
				if !marked && arrow == k {
					base = below[k-4]
				}
				fans[k] = &open{base: base}
			}
			base, marked = fans[k].base, true
			if r == '└' {
				closing = append(closing, k)
			}
		}
		switch {
		case marked:
			deps[n], below[column] = base, []int{n}
		case arrow < 0: // roots, one below the other
			below[column] = append(below[column], n)
		default:
			deps[n], below[column] = below[column], []int{n}
		}
		for _, f := range fans {
			f.members = append(f.members, n)
		}
		for _, k := range closing {
			below[k+4] = slices.DeleteFunc(slices.Clone(fans[k].members), func(i int) bool {
				return slices.ContainsFunc(fans[k].members, func(j int) bool { return slices.Contains(deps[j], i) })
			})
			delete(fans, k)
		}
		arrow = -1
	}
	return deps, explicit
}

// checkTree holds that a reader of the tree learns the dependencies of the plan.
func checkTree(t require.TestingT, p *dag.Plan, drawing string) {
	deps, explicit := readTree(t, drawing)
	reduced := p.Graph().Reduction()
	for i := range p.Len() {
		var want []int
		if explicit[i+1] {
			for _, j := range p.Step(i).Dependencies() {
				want = append(want, j+1)
			}
		} else {
			for _, j := range reduced.Predecessors(i) {
				want = append(want, int(j)+1)
			}
		}
		got := slices.Clone(deps[i+1])
		slices.Sort(got)
		require.Equal(t, want, got, "step %d of\n%s", i+1, drawing)
	}
}
