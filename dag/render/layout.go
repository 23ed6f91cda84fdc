package render

import (
	"cmp"
	"math"
	"slices"
)

// Lengths of the layout are in sixteenths of a pixel, as integers, so that every machine draws the same picture.
const px = 16

// Gaps between neighbours of a row.
const (
	gapCards = 28 * px
	gapCard  = 22 * px // between a card and a line that passes it
	gapLines = 14 * px
)

const (
	// rowLimit is how many steps of a group stand in one row at least before it is broken into several.
	rowLimit = 12
	// bends is how many points long edges may have beside the steps, by step; edges beyond are drawn straight.
	bends = 64
	// evenly keeps weights whole when they are divided.
	evenly = 64
	// sweeps is how often the rows are ordered, and then placed.
	sweeps = 12
)

// A vertex is a step's card, or a point where a long edge passes a row.
type vertex struct {
	step     int // planStep for the plan's gate; meaningful when card
	card     bool
	row      int
	x        int     // centre
	pos      int     // in its row
	middle   float64 // of its neighbours' positions, while its row is ordered
	up, down []link
}

// A link is one end of a segment.
type link struct{ to, weight int }

// A segment leads from a vertex to one of a row below, mostly the next.
type segment struct {
	from, to int
	data     bool
}

// A layout is a plan in rows: groups, of which wide ones take several rows.
type layout struct {
	vertices []vertex
	rows     [][]int // vertices from left to right
	segments []segment
	cardOf   []int // by step
	half     int   // half a card's width
	width    int
}

func newLayout(d *drawing, cardWidth int) *layout {
	l := &layout{cardOf: make([]int, d.plan.Len()), half: cardWidth * px / 2}
	if d.planGated() {
		l.rows = append(l.rows, []int{l.add(vertex{step: planStep, card: true})})
	}
	for _, g := range d.groups {
		for part := range slices.Chunk(g, perRow(len(g))) {
			row := make([]int, 0, len(part))
			for _, i := range part {
				l.cardOf[i] = l.add(vertex{step: i, card: true, row: len(l.rows)})
				row = append(row, l.cardOf[i])
			}
			l.rows = append(l.rows, row)
		}
	}
	l.connect(d)
	l.order()
	l.place()
	return l
}

// perRow parts a wide group into rows of even length, so that the whole is not much wider than a screen is.
func perRow(n int) int {
	limit := max(rowLimit, int(math.Sqrt(1.5*float64(n))))
	rows := (n + limit - 1) / limit
	return (n + rows - 1) / rows
}

func (l *layout) add(v vertex) int {
	l.vertices = append(l.vertices, v)
	return len(l.vertices) - 1
}

// connect turns edges into segments from row to row. Long edges of one step run together: those that leave the step
// with the most of them, or those that reach it.
func (l *layout) connect(d *drawing) {
	type edge struct{ from, to int }
	var edges []edge
	long := make([]int, len(l.vertices))   // long edges out of a card
	joined := make([]int, len(l.vertices)) // long edges into a card
	for i := range d.plan.Len() {
		to := l.cardOf[i]
		preds := d.reduced.Predecessors(i)
		if len(preds) == 0 && d.planGated() {
			edges = append(edges, edge{0, to})
		}
		for _, j := range preds {
			edges = append(edges, edge{l.cardOf[j], to})
		}
	}
	for _, e := range edges {
		if l.vertices[e.to].row-l.vertices[e.from].row > 1 {
			long[e.from]++
			joined[e.to]++
		}
	}
	budget := bends * len(l.vertices)
	afford := func(from, to, points int, data bool) bool {
		if points > budget {
			l.segments = append(l.segments, segment{from, to, data})
			return false
		}
		budget -= max(0, points)
		return true
	}
	fromTrunk := make([][]int, len(l.vertices)) // points below a card, from the top
	toTrunk := make([][]int, len(l.vertices))   // points above a card, from the bottom
	for _, e := range edges {
		a, b := l.vertices[e.from].row, l.vertices[e.to].row
		switch {
		case b-a == 1:
			l.join(e.from, e.to, false)
		case long[e.from] >= joined[e.to]:
			trunk := fromTrunk[e.from]
			if !afford(e.from, e.to, b-a-1-len(trunk), false) {
				continue
			}
			for row := a + 1 + len(trunk); row < b; row++ {
				point := l.point(row)
				l.join(tail(trunk, e.from), point, false)
				trunk = append(trunk, point)
			}
			l.join(trunk[b-a-2], e.to, false)
			fromTrunk[e.from] = trunk
		default:
			trunk := toTrunk[e.to]
			if !afford(e.from, e.to, b-a-1-len(trunk), false) {
				continue
			}
			for row := b - 1 - len(trunk); row > a; row-- {
				point := l.point(row)
				l.join(point, tail(trunk, e.to), false)
				trunk = append(trunk, point)
			}
			l.join(e.from, trunk[b-a-2], false)
			toTrunk[e.to] = trunk
		}
	}
	for _, e := range d.plan.DataEdges() {
		from, to := l.cardOf[e.From], l.cardOf[e.To]
		a, b := l.vertices[from].row, l.vertices[to].row
		if !afford(from, to, b-a-1, true) {
			continue
		}
		for row := a + 1; row < b; row++ {
			point := l.point(row)
			l.join(from, point, true)
			from = point
		}
		l.join(from, to, true)
	}
}

func tail(trunk []int, first int) int {
	if len(trunk) == 0 {
		return first
	}
	return trunk[len(trunk)-1]
}

func (l *layout) point(row int) int {
	p := l.add(vertex{row: row})
	l.rows[row] = append(l.rows[row], p)
	return p
}

// join adds a segment. Long edges are kept straighter than short ones, and what only carries data bends the most.
func (l *layout) join(from, to int, data bool) {
	weight := 12
	switch a, b := l.vertices[from].card, l.vertices[to].card; {
	case !a && !b:
		weight = 64 * 12
	case !a || !b:
		weight = 3 * 12
	}
	if data {
		weight /= 4
	}
	l.segments = append(l.segments, segment{from, to, data})
	l.vertices[from].down = append(l.vertices[from].down, link{to, weight})
	l.vertices[to].up = append(l.vertices[to].up, link{from, weight})
}

// order sorts the rows so that few segments cross: each vertex goes to the middle of its neighbours in the row above,
// then in the row below, in turn. The best order seen wins.
func (l *layout) order() {
	for r, row := range l.rows {
		// Lines that pass a row begin in its middle, where they have the shortest way.
		cards := 0
		for cards < len(row) && l.vertices[row[cards]].card {
			cards++
		}
		l.rows[r] = slices.Concat(row[:cards/2], row[cards:], row[cards/2:cards])
		l.number(l.rows[r])
	}
	best, least := l.rows, math.MaxInt
	for sweep := range sweeps {
		if sweep%2 == 0 {
			for r := 1; r < len(l.rows); r++ {
				l.sort(r, func(v *vertex) []link { return v.up })
			}
		} else {
			for r := len(l.rows) - 2; r >= 0; r-- {
				l.sort(r, func(v *vertex) []link { return v.down })
			}
		}
		if c := l.crossings(least); c < least {
			least = c
			best = make([][]int, len(l.rows))
			for r, row := range l.rows {
				best[r] = slices.Clone(row)
			}
		}
		if least == 0 {
			break
		}
	}
	l.rows = best
	for _, row := range l.rows {
		l.number(row)
	}
}

func (l *layout) number(row []int) {
	for k, v := range row {
		l.vertices[v].pos = k
	}
}

func (l *layout) sort(r int, side func(*vertex) []link) {
	row := l.rows[r]
	for k, v := range row {
		near := side(&l.vertices[v])
		if len(near) == 0 {
			l.vertices[v].middle = float64(k)
			continue
		}
		sum := 0
		for _, n := range near {
			sum += l.vertices[n.to].pos
		}
		// Positions count in rows of the neighbours' length; a vertex without any keeps its place among its own.
		l.vertices[v].middle = float64(sum) / float64(len(near)) * float64(len(row)) / float64(len(l.rows[l.vertices[near[0].to].row]))
	}
	slices.SortStableFunc(row, func(a, b int) int { return cmp.Compare(l.vertices[a].middle, l.vertices[b].middle) })
	l.number(row)
}

// crossings counts how many pairs of segments cross, and stops counting at limit.
func (l *layout) crossings(limit int) int {
	total := 0
	for r := range len(l.rows) - 1 {
		tree := make([]int, len(l.rows[r+1])+1)
		seen := 0
		for _, v := range l.rows[r] {
			down := l.vertices[v].down
			for _, n := range down { // those before that end to the right of this one cross it
				before := 0
				for k := l.vertices[n.to].pos + 1; k > 0; k -= k & -k {
					before += tree[k]
				}
				total += seen - before
			}
			for _, n := range down {
				for k := l.vertices[n.to].pos + 1; k < len(tree); k += k & -k {
					tree[k]++
				}
			}
			seen += len(down)
		}
		if total >= limit {
			return limit
		}
	}
	return total
}

// place gives the vertices their x: each row as near to the middle of its neighbours as the gaps allow, up and down in
// turn, later between both. The places with the straightest edges win.
func (l *layout) place() {
	for _, row := range l.rows {
		x := 0
		for k, v := range row {
			if k > 0 {
				x += l.gap(row[k-1], v)
			}
			l.vertices[v].x = x
		}
		for _, v := range row {
			l.vertices[v].x -= x / 2
		}
	}
	best, least := make([]int, len(l.vertices)), math.MaxInt
	for sweep := range 2 * sweeps {
		both := sweep >= sweeps
		if sweep%2 == 0 {
			for r := len(l.rows) - 1; r >= 0; r-- {
				l.settle(r, both, true)
			}
		} else {
			for r := range l.rows {
				l.settle(r, true, both)
			}
		}
		if b := l.bend(); b < least {
			least = b
			for k, v := range l.vertices {
				best[k] = v.x
			}
		}
	}
	for k, x := range best {
		l.vertices[k].x = x
	}
	left, right := math.MaxInt, math.MinInt
	for _, v := range l.vertices {
		left, right = min(left, v.x-l.halfOf(v)), max(right, v.x+l.halfOf(v))
	}
	for k := range l.vertices {
		l.vertices[k].x -= left
	}
	l.width = right - left
}

// bend is how far from straight the edges are.
func (l *layout) bend() int {
	sum := 0
	for _, v := range l.vertices {
		for _, n := range v.down {
			sum += n.weight * max(v.x-l.vertices[n.to].x, l.vertices[n.to].x-v.x)
		}
	}
	return sum
}

func (l *layout) halfOf(v vertex) int {
	if v.card {
		return l.half
	}
	return px
}

// gap is the least distance between the centres of two neighbours.
func (l *layout) gap(a, b int) int {
	va, vb := l.vertices[a], l.vertices[b]
	switch {
	case va.card && vb.card:
		return 2*l.half + gapCards
	case va.card || vb.card:
		return l.half + gapCard
	}
	return gapLines
}

// settle places one row: of all places that keep the gaps, those with the least weighted squares of distances from
// where the vertices want to be (pool adjacent violators).
func (l *layout) settle(r int, up, down bool) {
	type block struct{ sum, weight, count int }
	row := l.rows[r]
	var blocks []block
	offset := 0
	offsets := make([]int, len(row))
	for k, v := range row {
		if k > 0 {
			offset += l.gap(row[k-1], v)
		}
		offsets[k] = offset
		sum, weight := 0, 0
		if up {
			near := l.vertices[v].up
			for _, n := range near {
				w := l.pull(v, n, max(len(near), len(l.vertices[n.to].down)))
				sum, weight = sum+l.vertices[n.to].x*w, weight+w
			}
		}
		if down {
			near := l.vertices[v].down
			for _, n := range near {
				w := l.pull(v, n, max(len(near), len(l.vertices[n.to].up)))
				sum, weight = sum+l.vertices[n.to].x*w, weight+w
			}
		}
		if weight == 0 {
			sum, weight = l.vertices[v].x, 1
		}
		b := block{sum - offset*weight, weight, 1}
		for len(blocks) > 0 {
			last := blocks[len(blocks)-1]
			if floorDiv(last.sum, last.weight) < floorDiv(b.sum, b.weight) {
				break
			}
			b = block{b.sum + last.sum, b.weight + last.weight, b.count + last.count}
			blocks = blocks[:len(blocks)-1]
		}
		blocks = append(blocks, b)
	}
	k := 0
	for _, b := range blocks {
		at := floorDiv(b.sum, b.weight)
		for range b.count {
			l.vertices[row[k]].x = at + offsets[k]
			k++
		}
	}
}

// pull is the weight of a link for its vertex v. The branches of a fan together pull no more than one edge; the trunk
// of a bundle pulls whole.
func (l *layout) pull(v int, n link, branches int) int {
	if !l.vertices[v].card && !l.vertices[n.to].card {
		branches = 1
	}
	return max(1, n.weight*evenly/branches)
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b != 0 && a < 0 {
		q--
	}
	return q
}
