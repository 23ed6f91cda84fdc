package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/remedykit/remedy/executor"
)

// A frame is one picture of a run that goes on.
type frame struct {
	l         *loaded
	report    *executor.Report
	now       time.Time
	durations []time.Duration // by step index, as the time scale makes them
	whole     time.Duration   // the longest path
	writers   []int           // by step index: which group of writers it is of, -1 for none
	head      string
	tick      int // turns the wheel
	interrupt bool
}

func newFrame(l *loaded, r *executor.Report, scale float64) frame {
	f := frame{l: l, report: r, now: r.StartedAt().Add(r.Makespan())}
	f.durations = make([]time.Duration, l.plan.Len())
	f.writers = make([]int, l.plan.Len())
	for i := range f.durations {
		f.durations[i], f.writers[i] = scaled(l.plan.Step(i).Duration(), scale), -1
	}
	_, whole := l.plan.CriticalPath()
	f.whole = scaled(whole, scale)
	for g, members := range l.plan.Writers() {
		for _, i := range members {
			f.writers[i] = g
		}
	}
	f.head = fmt.Sprintf("run %s of %s%s", printable(r.Run()), printable(l.file), speed(scale))
	return f
}

const (
	maxName  = 40
	barWidth = 20
	// From these widths on there is room for bars, and for what each step is about.
	middling, wide = 70, 110
)

var wheel = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

// lines draws the frame: fewer lines than height, of at most width cells.
func (f *frame) lines(width, height int, p palette) []string {
	steps := make([]executor.StepReport, 0, f.l.plan.Len())
	for s := range f.report.Steps() {
		steps = append(steps, s)
	}
	shown, before, after := f.window(steps, max(1, height-6))
	nameWidth, targetWidth := 0, 0
	for _, s := range steps[shown[0]:shown[1]] {
		nameWidth, targetWidth = max(nameWidth, cells(f.name(s))), max(targetWidth, cells(f.target(s)))
	}
	nameWidth, targetWidth = min(nameWidth, maxName, max(8, width/3)), min(targetWidth, maxName)
	numberWidth := len(strconv.Itoa(len(steps)))

	var out []string
	add := func(t *text) { out = append(out, t.cut(width, p)) }
	add(new(text).add(palette.bold, f.head))
	if g := f.report.PlanGate(); g != nil && g.DecidedAt.IsZero() {
		add(new(text).add(palette.yellow, "◆ the plan as a whole waits for approval"+f.gateTime(g)))
	}
	if before != "" {
		add(new(text).add(palette.faint, "  … "+before))
	}
	for _, s := range steps[shown[0]:shown[1]] {
		t := new(text)
		mark, style := f.mark(s)
		t.add(style, mark+" ")
		t.add(palette.faint, fmt.Sprintf("%*d ", numberWidth, s.Number))
		nameStyle := plain
		if s.Status == executor.Pending {
			nameStyle = palette.faint
		}
		t.add(nameStyle, fit(f.name(s), nameWidth)+"  ")
		if width >= wide && targetWidth > 0 {
			t.add(palette.faint, fit(f.target(s), targetWidth)+"  ")
		}
		f.state(t, s, steps, width)
		add(t)
	}
	if after != "" {
		add(new(text).add(palette.faint, "  … "+after))
	}
	add(new(text))
	add(f.total(steps, width))
	return out[max(0, len(out)-max(1, height-1)):]
}

// window chooses which steps are drawn when there are more than fit: those around the first that has not ended.
func (f *frame) window(steps []executor.StepReport, room int) (shown [2]int, before, after string) {
	if len(steps) <= room {
		return [2]int{0, len(steps)}, "", ""
	}
	room = max(1, room-2)
	first := 0
	for first < len(steps)-1 && steps[first].Status.Final() {
		first++
	}
	from := max(0, min(first-room/4, len(steps)-room))
	to := from + room
	return [2]int{from, to}, summary(steps[:from]), summary(steps[to:])
}

// summary counts steps by status.
func summary(steps []executor.StepReport) string {
	counts := map[executor.Status]int{}
	for _, s := range steps {
		counts[s.Status]++
	}
	return countsText(counts)
}

func countsText(counts map[executor.Status]int) string {
	var parts []string
	for s := executor.Pending; s <= executor.Unknown; s++ {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[s], words(s.String())))
		}
	}
	return strings.Join(parts, ", ")
}

func (f *frame) name(s executor.StepReport) string {
	return printable(f.l.plan.Step(s.Number - 1).Label())
}

func (f *frame) target(s executor.StepReport) string {
	return printable(target(f.l.plan.Step(s.Number - 1)))
}

func (f *frame) mark(s executor.StepReport) (string, style) {
	switch s.Status {
	case executor.Running:
		return string(wheel[f.tick%len(wheel)]), palette.cyan
	case executor.WaitingApproval:
		return "◆", palette.yellow
	case executor.Succeeded:
		return "✓", palette.green
	case executor.Failed, executor.Rejected, executor.Unknown:
		return "✗", palette.red
	case executor.Blocked, executor.Cancelled:
		return "–", palette.faint
	}
	return "·", palette.faint
}

// state says what a step does, or what it waits for.
func (f *frame) state(t *text, s executor.StepReport, steps []executor.StepReport, width int) {
	switch s.Status {
	case executor.Running:
		elapsed, expected := f.now.Sub(s.StartedAt), f.durations[s.Number-1]
		if width >= middling {
			f.bar(t, float64(elapsed)/float64(max(1, expected)))
		}
		t.add(plain, ticking(elapsed))
		t.add(palette.faint, " of about "+short(expected))
	case executor.WaitingApproval:
		t.add(palette.yellow, "waits for approval"+f.gateTime(s.Gate))
	case executor.Pending:
		t.add(palette.faint, f.waits(s, steps))
	case executor.Succeeded:
		t.add(plain, short(s.EndedAt.Sub(s.StartedAt)))
		if s.Gate != nil && s.Gate.By != "" {
			t.add(palette.faint, ", approved by "+printable(s.Gate.By))
		}
	default:
		mark := palette.red
		if s.Status == executor.Blocked || s.Status == executor.Cancelled {
			mark = palette.faint
		}
		t.add(mark, why(f.report, s))
	}
}

func (f *frame) gateTime(g *executor.GateReport) string {
	if g == nil {
		return ""
	}
	return " " + ticking(f.now.Sub(g.AskedAt))
}

// waits says whom a pending step waits for.
func (f *frame) waits(s executor.StepReport, steps []executor.StepReport) string {
	i := s.Number - 1
	var open []int
	for _, d := range f.l.plan.Step(i).Dependencies() {
		if !steps[d].Status.Final() {
			open = append(open, d)
		}
	}
	text := "waits for a free slot"
	if gate := f.report.PlanGate(); gate != nil && gate.DecidedAt.IsZero() && len(open) == 0 {
		text = "waits for the approval of the plan"
	} else if len(open) > 0 {
		text = "waits for " + joinNumbers(open, ", ")
	} else if f.writers[i] >= 0 {
		for j, other := range steps {
			if j != i && f.writers[j] == f.writers[i] && other.Status == executor.Running {
				text = fmt.Sprintf("waits for %d, which writes the same object", j+1)
			}
		}
	}
	switch g := s.Gate; {
	case g == nil:
	case g.DecidedAt.IsZero():
		text += "; approval asked" + f.gateTime(g) + " ago"
	case g.By != "":
		text += "; approved by " + printable(g.By)
	}
	return text
}

// bar draws how far something is.
func (f *frame) bar(t *text, part float64) {
	full := min(barWidth, max(0, int(part*barWidth)))
	t.add(palette.cyan, strings.Repeat("━", full))
	t.add(palette.faint, strings.Repeat("─", barWidth-full)+"  ")
}

// total is the last line: how far the run is, and how long it may still take.
func (f *frame) total(steps []executor.StepReport, width int) *text {
	t := new(text)
	done, succeeded, running, waiting := 0, 0, 0, 0
	for _, s := range steps {
		if s.Status == executor.Succeeded {
			succeeded++
		}
		switch {
		case s.Status.Final():
			done++
		case s.Status == executor.Running:
			running++
		case s.Status == executor.WaitingApproval:
			waiting++
		}
	}
	left := f.left(steps)
	part := 1 - float64(left)/float64(max(1, f.whole))
	if f.report.Status().Final() {
		done, part = succeeded, float64(succeeded)/float64(len(steps))
	}
	t.add(plain, "  ")
	if width >= middling {
		f.bar(t, part)
	}
	t.add(plain, fmt.Sprintf("%d of %s, %s", done, count(len(steps), "step"), ticking(f.report.Makespan())))
	switch {
	case f.report.Status().Final():
	case f.interrupt:
		t.add(palette.yellow, ", interrupted: waiting for what runs (ctrl-C again ends at once)")
	case running == 0 && waiting > 0:
		t.add(palette.yellow, fmt.Sprintf(", about %s left once approved", short(left)))
	default:
		t.add(palette.faint, fmt.Sprintf(", about %s left", short(left)))
	}
	return t
}

// left is how long the run may still take without approvals: the longest of what remains.
func (f *frame) left(steps []executor.StepReport) time.Duration {
	ends := make([]time.Duration, len(steps))
	var left time.Duration
	for _, i := range f.l.plan.Graph().Order() {
		s := steps[i]
		if s.Status.Final() {
			continue
		}
		for _, d := range f.l.plan.Step(int(i)).Dependencies() {
			ends[i] = max(ends[i], ends[d])
		}
		rest := f.durations[i]
		if s.Status == executor.Running {
			rest = max(0, rest-f.now.Sub(s.StartedAt))
		}
		ends[i] = min(ends[i]+rest, longest)
		left = max(left, ends[i])
	}
	return left
}

// ticking is short with the tenths kept, so that a running clock does not jump.
func ticking(d time.Duration) string {
	if d < time.Minute {
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	}
	return short(d)
}

// why says in a few words how a step that did not succeed ended.
func why(r *executor.Report, s executor.StepReport) string {
	message := ""
	if chain := r.Why(s.ID); len(chain) > 0 {
		message = printable(chain[0].Message)
	}
	text := words(s.Status.String())
	switch {
	case s.Cause != "":
		for cause := range r.Steps() {
			if cause.ID == s.Cause {
				return fmt.Sprintf("%s: step %d did not succeed", text, cause.Number)
			}
		}
	case s.Reason == executor.ReasonRejected && message != "":
		return message // "rejected by ..."
	case s.Reason != executor.ReasonNone:
		text += ": " + words(s.Reason.String())
	}
	return text + colon(message)
}

// words turns "waitingApproval" into "waiting approval".
func words(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsUpper(r) {
			b.WriteByte(' ')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}
