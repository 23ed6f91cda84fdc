package terminal

import (
	"fmt"
	"strings"
	"time"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/internal/wording"
)

const (
	width  = 100 // characters in a line
	indent = 15  // where values begin
)

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// question is the whole text, the prompt at its end.
func question(req *approval.Request, now time.Time) string {
	brief := req.Brief(approval.NewTally(req).Standing(now), now)
	p := &page{}
	p.line("Approval needed: %s, %s", brief.Subject, brief.Heading)
	p.line("")
	for _, line := range brief.Drawing {
		p.line("%s", line)
	}
	if len(brief.Drawing) > 0 {
		p.line("")
	}
	before := ""
	for _, f := range brief.Facts {
		p.fact(f, before)
		before = f.Label
	}
	p.line("")
	p.field("yes", brief.Yes)
	p.field("no", brief.No)
	p.field("silence", brief.Silence)
	p.line("")
	fmt.Fprintf(&p.b, "Approve %s? y or n (a reason may follow), ? shows this again: ", brief.Subject)
	return p.b.String()
}

// A page is text in two columns.
type page struct{ b strings.Builder }

func (p *page) line(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

// field writes a label and a value, wrapped; an empty label goes on with the field before.
func (p *page) field(label, value string) {
	for _, text := range wording.Wrap(value, width-indent) {
		p.line("  %-*s%s", indent-2, label, text)
		label = ""
	}
}

// fact writes what is known. Words that are not ours stand behind a bar on every line, so that none can pass for one of ours.
func (p *page) fact(f approval.Fact, before string) {
	label := f.Label
	if label == before {
		label = ""
	}
	for _, text := range f.Lines {
		if !f.Quoted {
			p.field(label, text)
			label = ""
			continue
		}
		for _, line := range wording.Wrap(text, width-indent-2) {
			p.line("%s", strings.TrimRight(fmt.Sprintf("  %-*s| %s", indent-2, label, line), " "))
			label = ""
		}
	}
}
