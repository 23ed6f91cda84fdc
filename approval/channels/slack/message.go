package slack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/internal/wording"
)

// Slack's bounds, in characters, less what a cut adds to say so.
const (
	mostHeader  = 150 - 30
	mostText    = 3000 - 40
	mostValue   = 2000
	mostLine    = 600
	mostFacts   = 7500 // all facts together: a message may have some 13,000 characters in its blocks
	mostFact    = 1200 // one of them
	leastQuoted = 80   // one of them that is not ours
	lastFacts   = 6    // are kept: they are about the question as a whole
)

// A token is what a button carries. It is no secret: Slack signs the click.
type token struct {
	Run    string `json:"run"`
	Step   string `json:"step"`
	Digest string `json:"digest"`
}

func (t token) encode() (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(t); err != nil {
		return "", fmt.Errorf("slack: %w", err)
	}
	value := strings.TrimSuffix(b.String(), "\n")
	if utf8.RuneCountInString(value) > mostValue {
		return "", errors.New("slack: the run, step and digest are too long for a button")
	}
	return value, nil
}

func decode(value string) (t token, err error) {
	d := json.NewDecoder(strings.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil || t.Run == "" || t.Digest == "" {
		return t, errors.New("the button is none of ours")
	}
	return t, nil
}

const (
	actionApprove = "remedy_approve"
	actionReject  = "remedy_reject"
)

// message is what Slack is told about a request as it stands.
func (c *Channel) message(req *approval.Request, s approval.Standing, now time.Time, r role) ([]slack.MsgOption, error) {
	blocks, err := c.blocks(req, s, now, r)
	if err != nil {
		return nil, err
	}
	// What is shown where there are no blocks, such as on a phone's lock screen, is read as markup.
	text := wording.Unlink(title(req, s) + ", run " + wording.Visible(wording.Cut(req.Run, 100)))
	return []slack.MsgOption{
		slack.MsgOptionText(text, true), slack.MsgOptionBlocks(blocks...), slack.MsgOptionMetadata(metadata(req, r)),
		slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl(),
	}, nil
}

func title(req *approval.Request, s approval.Standing) string {
	if s.State != approval.Open {
		return wording.Cut(s.Outcome(), 300) + ": " + req.Subject()
	}
	return "Approve " + req.Subject() + "?"
}

func (c *Channel) blocks(req *approval.Request, s approval.Standing, now time.Time, r role) ([]slack.Block, error) {
	b := req.Brief(s, now)
	open := s.State == approval.Open
	heading := b.Subject
	if open {
		heading = "Approve " + b.Subject + "?"
	}
	all := []slack.Block{slack.NewHeaderBlock(plain(heading, mostHeader))}
	if !open {
		all = append(all, slack.NewRichTextBlock("", section(bold(s.Outcome()))))
	}
	about := []slack.RichTextSectionElement{literal(b.Heading, mostLine)}
	if open {
		if s.Escalated {
			about = append(about, literal("\nNobody has decided yet, so more people are asked.", mostText))
		}
		about = append(about, c.mentioned(req, r == escalated)...)
	}
	all = append(all, slack.NewRichTextBlock("", section(about...)))
	if len(b.Drawing) > 0 {
		all = append(all, slack.NewRichTextBlock("", &slack.RichTextPreformatted{
			Type: slack.RTEPreformatted, Elements: []slack.RichTextSectionElement{literal(window(b.Drawing, mostText), mostText)},
		}))
	}
	all = append(all, slack.NewRichTextBlock("", facts(b.Facts)...))
	if !open {
		return all, nil
	}
	fallback := req.ExpiresAt.Format("2 January 2006, 15:04:05 MST")
	all = append(all, slack.NewRichTextBlock("", section(
		bold("On yes: "), literal(b.Yes, mostLine), bold("\nOn no: "), literal(b.No, mostLine), bold("\nOn silence: "), literal(b.Silence, mostLine),
		bold("\nUntil: "), slack.NewRichTextSectionDateElement(req.ExpiresAt.Unix(), "{date_short_pretty}, {time_secs}", nil, &fallback),
	)))
	step := ""
	if req.Step != nil {
		step = req.Step.ID()
	}
	value, err := token{req.Run, step, req.Digest}.encode()
	if err != nil {
		return nil, err
	}
	yes := slack.NewButtonBlockElement(actionApprove, value, plain("Approve", mostHeader)).WithStyle(slack.StylePrimary)
	no := slack.NewButtonBlockElement(actionReject, value, plain("Reject …", mostHeader)).WithStyle(slack.StyleDanger)
	return append(all, slack.NewActionBlock("", yes, no)), nil
}

// mentioned mentions those who are to decide, as far as Slack knows them.
func (c *Channel) mentioned(req *approval.Request, toOthers bool) []slack.RichTextSectionElement {
	var all []slack.RichTextSectionElement
	var ids []string
	for _, p := range req.Gate.Terms.Panels {
		who := p.Approvers
		if toOthers {
			if p.Escalation == nil {
				continue
			}
			who = p.Escalation.To
		}
		for _, name := range slices.Concat(who.People, who.Groups) {
			id := c.mentions[normal(name)]
			if id == "" || slices.Contains(ids, id) || len(ids) == 20 {
				continue
			}
			ids = append(ids, id)
			before := ", "
			if len(ids) == 1 {
				before = "\nFor "
			}
			all = append(all, literal(before, mostText))
			if strings.HasPrefix(id, "S") {
				all = append(all, slack.NewRichTextSectionUserGroupElement(id))
			} else {
				all = append(all, slack.NewRichTextSectionUserElement(id, nil))
			}
		}
	}
	return all
}

// facts are a brief's, in Slack's bounds. Words that are not ours give way first, then what is in the middle; what is left out is
// counted.
func facts(all []approval.Fact) []slack.RichTextElement {
	ours, quoted := 0, 0
	for _, f := range all {
		if f.Quoted {
			quoted++
			continue
		}
		ours += size(f, mostFact)
	}
	share := min(mostFact, max(leastQuoted, (mostFacts-ours)/max(1, quoted)))
	most := func(f approval.Fact) int {
		if f.Quoted {
			return share
		}
		return mostFact
	}
	last := max(0, len(all)-lastFacts)
	room := mostFacts
	for _, f := range all[last:] {
		room -= size(f, most(f))
	}
	shown := 0
	for ; shown < last && room >= size(all[shown], most(all[shown])); shown++ {
		room -= size(all[shown], most(all[shown]))
	}

	var elements []slack.RichTextElement
	var text []slack.RichTextSectionElement
	add := func(e ...slack.RichTextSectionElement) {
		if len(text) > 0 {
			text = append(text, literal("\n", mostText))
		}
		text = append(text, e...)
	}
	for i, f := range all {
		if shown <= i && i < last {
			if i == shown {
				add(bold(fmt.Sprintf("… and %d more, not shown: read the plan itself before you approve this", last-shown)))
			}
			continue
		}
		value := literal(strings.Join(f.Lines, "\n"), most(f))
		if !f.Quoted {
			add(bold(f.Label+": "), value)
			continue
		}
		add(bold(f.Label + ":"))
		elements, text = append(elements, section(text...), &slack.RichTextQuote{Type: slack.RTEQuote, Elements: []slack.RichTextSectionElement{value}}), nil
	}
	if len(text) > 0 {
		elements = append(elements, section(text...))
	}
	return elements
}

// size is how many characters a fact takes at most.
func size(f approval.Fact, most int) int {
	const cut = 40 // what a cut says of itself, and what stands around a fact
	return utf8.RuneCountInString(f.Label) + min(most, length(f.Lines)) + cut
}

func length(lines []string) int {
	n := 0
	for _, l := range lines {
		n += utf8.RuneCountInString(l) + 1
	}
	return n
}

// window is as much of a drawing as may be shown, the marked step in it.
func window(lines []string, most int) string {
	const reserve = 80 // for what says that lines are missing
	if length(lines) <= most {
		return strings.Join(lines, "\n")
	}
	mark := max(0, slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "▶") }))
	from := 0
	for length(lines[from:min(mark+8, len(lines))]) > most-reserve && from < mark {
		from++
	}
	to, size := from, 0
	for to < len(lines) && size+utf8.RuneCountInString(lines[to])+1 <= most-reserve {
		size += utf8.RuneCountInString(lines[to]) + 1
		to++
	}
	var all []string
	if from > 0 {
		all = append(all, fmt.Sprintf("… (%d lines above)", from))
	}
	all = append(all, lines[from:to]...)
	if to < len(lines) {
		all = append(all, fmt.Sprintf("… (%d lines below)", len(lines)-to))
	}
	return strings.Join(all, "\n")
}

// plain is a text without markup.
func plain(s string, most int) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, wording.Unlink(wording.Cut(s, most)), false, false)
}

func section(elements ...slack.RichTextSectionElement) *slack.RichTextSection {
	return slack.NewRichTextSection(elements...)
}

// literal is a text that Slack shows as it is.
func literal(s string, most int) *slack.RichTextSectionTextElement {
	if s == "" {
		s = " " // Slack takes no empty one
	}
	return slack.NewRichTextSectionTextElement(wording.Cut(wording.Unlink(s), most), nil)
}

func bold(s string) *slack.RichTextSectionTextElement {
	return slack.NewRichTextSectionTextElement(wording.Cut(wording.Unlink(s), mostText), &slack.RichTextSectionTextStyle{Bold: true})
}
