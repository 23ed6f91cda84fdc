package render_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/dag/render"
	"github.com/remedykit/remedy/schema"
)

// checkXML holds a picture against what a stand-alone SVG may contain.
func checkXML(t tester, svg string) {
	dec := xml.NewDecoder(strings.NewReader(svg))
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
		el, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		require.Contains(t, []string{"svg", "title", "desc", "style", "rect", "path", "g", "text"}, el.Name.Local)
		for _, a := range el.Attr {
			require.Contains(t, []string{"xmlns", "role", "width", "height", "viewBox", "class", "x", "y", "rx", "d"}, a.Name.Local)
			require.False(t, strings.Contains(a.Value, "url("))
		}
	}
}

type box struct{ x0, y0, x1, y1 int }

// parsed is what a picture draws: cards, and the points along its edges.
type parsed struct {
	width, height int
	cards         []box
	edges         [][][2]float64
}

func parse(t tester, svg string) parsed {
	var out parsed
	dec := xml.NewDecoder(strings.NewReader(svg))
	legend := false
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		el, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		attr := map[string]string{}
		for _, a := range el.Attr {
			attr[a.Name.Local] = a.Value
		}
		num := func(name string) int {
			n, err := strconv.Atoi(attr[name])
			require.NoError(t, err, "%s of %v", name, el)
			return n
		}
		legend = legend || attr["class"] == "legend"
		switch {
		case el.Name.Local == "svg":
			out.width, out.height = num("width"), num("height")
		case attr["class"] == "card":
			x, y := num("x"), num("y")
			out.cards = append(out.cards, box{x, y, x + num("width"), y + num("height")})
		case !legend && (attr["class"] == "edge" || attr["class"] == "data"):
			out.edges = append(out.edges, points(t, attr["d"])...)
		}
	}
}

// points samples a path of M, V and C commands.
func points(t tester, d string) [][][2]float64 {
	var paths [][][2]float64
	var x, y float64
	for _, sub := range strings.Split(d, "M")[1:] {
		line := [][2]float64{}
		for len(sub) > 0 {
			cmd := byte('M')
			if sub[0] == 'C' || sub[0] == 'V' {
				cmd, sub = sub[0], sub[1:]
			}
			end := strings.IndexAny(sub, "CV")
			if end < 0 {
				end = len(sub)
			}
			var n []float64
			for _, f := range strings.Fields(sub[:end]) {
				v, err := strconv.ParseFloat(f, 64)
				require.NoError(t, err)
				n = append(n, v)
			}
			sub = sub[end:]
			switch cmd {
			case 'M':
				x, y = n[0], n[1]
				line = append(line, [2]float64{x, y})
			case 'V':
				for k := range 20 {
					line = append(line, [2]float64{x, y + (n[0]-y)*float64(k+1)/20})
				}
				y = n[0]
			case 'C':
				for k := range 40 {
					u := float64(k+1) / 40
					at := func(a, b, c, e float64) float64 {
						return a*(1-u)*(1-u)*(1-u) + 3*b*u*(1-u)*(1-u) + 3*c*u*u*(1-u) + e*u*u*u
					}
					line = append(line, [2]float64{at(x, n[0], n[2], n[4]), at(y, n[1], n[3], n[5])})
				}
				x, y = n[4], n[5]
			}
		}
		paths = append(paths, line)
	}
	return paths
}

// checkPicture holds that no cards overlap, no edge runs over a card, and nothing is clipped.
func checkPicture(t tester, svg string) {
	p := parse(t, svg)
	for i, a := range p.cards {
		require.True(t, a.x0 >= 8 && a.y0 >= 8 && a.x1 <= p.width-8 && a.y1 <= p.height-8, "card %d is clipped", i)
		near := slices.IndexFunc(p.cards[:i], func(b box) bool {
			return a.x0 < b.x1+8 && b.x0 < a.x1+8 && a.y0 < b.y1 && b.y0 < a.y1
		})
		require.Equal(t, -1, near, "card %d overlaps", i)
	}
	for _, line := range p.edges {
		for _, at := range line {
			require.True(t, at[0] >= 4 && at[0] <= float64(p.width-4), "an edge is clipped")
			over := slices.IndexFunc(p.cards, func(c box) bool {
				return at[0] > float64(c.x0-3) && at[0] < float64(c.x1+3) && at[1] > float64(c.y0)+.5 && at[1] < float64(c.y1)-.5
			})
			require.Equal(t, -1, over, "an edge runs over a card at %v", at)
		}
	}
}

// layered is a random plan in layers, with some edges that skip layers.
func layered(n, width int, seed uint64) [][]int {
	r := rand.New(rand.NewPCG(seed, 1))
	deps := make([][]int, n)
	for i := range n {
		layer := i / width
		if layer == 0 {
			continue
		}
		seen := map[int]bool{}
		for range 1 + r.IntN(2) {
			j := (layer-1)*width + r.IntN(width)
			if r.IntN(5) == 0 {
				j = r.IntN(layer * width)
			}
			if !seen[j] {
				seen[j] = true
				deps[i] = append(deps[i], j)
			}
		}
	}
	return deps
}

func TestPicturesAreTidy(t *testing.T) {
	shapes := map[string][][]int{
		"one": chain(1), "chain": chain(30), "fan of 10": fan(10), "fan of 200": fan(200),
		"layers of 5": layered(30, 5, 7), "layers of 3": layered(24, 3, 1), "layers of 16": layered(256, 16, 3),
	}
	for name, deps := range shapes {
		t.Run(name, func(t *testing.T) {
			svg := render.SVG(sketch{deps: deps, gated: map[int]bool{0: true}}.build(t), render.View{})
			checkXML(t, svg)
			checkPicture(t, svg)
			p := parse(t, svg)
			require.Len(t, p.cards, len(deps))
		})
	}
	for _, in := range incidents {
		checkPicture(t, render.SVG(incident(t, in.name), render.View{PlanGated: true}))
	}
}

func TestAPictureOfThirtyStepsLooksAsTheGoldenFile(t *testing.T) {
	golden(t, "thirty.svg", render.SVG(sketch{deps: layered(30, 5, 7)}.build(t), render.View{}))
}

func TestAPictureExplainsOnlyWhatItUses(t *testing.T) {
	require.NotContains(t, render.SVG(sketch{deps: chain(1)}.build(t), render.View{}), "legend")
	svg := render.SVG(incident(t, "oomkill"), render.View{})
	for _, word := range []string{"goes before", "leaves data for", "a person decides", "no rollback takes it back"} {
		require.Equal(t, 1, strings.Count(svg, ">"+word+"<"))
	}
}

func TestDataBetweenNeighboursRunsBesideTheirEdge(t *testing.T) {
	p, err := dag.Load([]byte(`{"recommendations": [
		{"id": "a", "action": "collect_diagnostics", "parameters": {"type": "heap_dump", "deployment": "web", "namespace": "shop"}},
		{"id": "b", "action": "notify_only", "parameters": {"message": "see", "attachments": ["heap_dump_a"]}, "dependencies": ["a"]}]}`),
		actions.Canonical())
	require.NoError(t, err)
	edges := parse(t, render.SVG(p, render.View{})).edges
	require.Len(t, edges, 2)
	for _, line := range edges {
		require.Equal(t, line[0][0], line[len(line)-1][0], "straight")
	}
	require.Equal(t, 26.0, edges[1][0][0]-edges[0][0][0])
}

func TestAPlanWithHugelyManyLongEdgesStaysSmall(t *testing.T) {
	const n = 500
	deps := chain(n)
	for i := range n { // each of as many other roots leads to a step far down, or from a step high up
		deps = append(deps, []int{})
		deps[n/2+i/2] = append(deps[n/2+i/2], n+i)
	}
	for i := range n / 2 {
		deps = append(deps, []int{i, 2*n - 1 - i})
	}
	p := sketch{deps: deps}.build(t)
	svg := render.SVG(p, render.View{})
	checkXML(t, svg)
	require.Less(t, len(svg), 8<<20)
	require.Len(t, parse(t, svg).cards, len(deps))
}

func TestPictureCutsTextAtTheCardAndKeepsItInTheTitle(t *testing.T) {
	label := "sweep_" + strings.Repeat("very_", 20) + "long"
	s := sketch{deps: chain(2), steps: map[int]schema.StepOverlay{0: {Label: label}, 1: {Label: strings.Repeat("漢字", 30)}}}
	svg := render.SVG(s.build(t), render.View{})
	require.Equal(t, 1, strings.Count(svg, label), "uncut only in the title")
	require.Contains(t, svg, ">sweep_very_very_very_very_very_very_…</text>")
	require.Contains(t, svg, strings.Repeat("漢字", 9)+"…</text>")
}

func TestLargePlansAreDrawnWhole(t *testing.T) {
	for _, deps := range [][][]int{layered(256, 16, 9), layered(256, 2, 9), fan(254), chain(256)} {
		p := sketch{deps: deps}.build(t)
		for _, f := range formats {
			got := f.draw(p, render.View{})
			for i := range deps {
				require.Equal(t, 1, strings.Count(got, fmt.Sprintf("Step %d: ", i+1)), "%s: step %d", f.ext, i+1)
			}
		}
	}
}

func BenchmarkDraw256Steps(b *testing.B) {
	p := sketch{deps: layered(256, 16, 9)}.build(b)
	for _, f := range formats {
		b.Run(f.ext, func(b *testing.B) {
			for b.Loop() {
				f.draw(p, render.View{})
			}
		})
	}
}
