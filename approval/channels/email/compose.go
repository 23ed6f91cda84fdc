package email

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/internal/wording"
)

//go:embed templates
var templates embed.FS

// mostSubject is how many characters of a subject are shown, mostName of a name in one.
const (
	mostSubject = 150
	mostName    = 60
)

// when is how a time is written for people.
const when = "2 January 2006, 15:04:05 MST"

// A message is one mail to one person, as it will be rendered.
type message struct {
	id      string // Message-ID without its brackets
	answers string // that of the mail it follows; "" when it is the first
	person  string
	subject string
	view    view
}

// A view is what the templates show, in a mail and on the page.
type view struct {
	Title   string
	Heading string
	// Link is where to decide, Until when at the latest.
	Link, Until string
	// Person whom it is for.
	Person  string
	Brief   *approval.Brief
	Outcome string
	// Note says what became of an answer, or why none can be given; Bad tells that it did not count.
	Note string
	Bad  bool
	// Ask tells whether the page has the two buttons.
	Ask bool
	// Style is that of a mail, Sheet the address of the page's.
	Style template.CSS
	Sheet string
}

// viewOf is the view of a request as it stands.
func (c *Channel) viewOf(req *approval.Request, s approval.Standing, person string, now time.Time) view {
	brief := req.Brief(s, now)
	for _, text := range []*string{&brief.Subject, &brief.Heading, &brief.Yes, &brief.No, &brief.Silence} {
		*text = wording.Unlink(*text)
	}
	for _, f := range brief.Facts {
		for i, line := range f.Lines {
			f.Lines[i] = wording.Unlink(line)
		}
	}
	v := view{Title: "Approve " + brief.Subject + "?", Heading: brief.Heading, Person: wording.Visible(person), Brief: brief, Outcome: wording.Unlink(s.Outcome())}
	if v.Outcome != "" {
		v.Title = brief.Subject
		brief.Yes, brief.No, brief.Silence = "", "", ""
	}
	return v
}

func (c *Channel) questionMail(req *approval.Request, s approval.Standing, person string, now time.Time) (message, error) {
	at, err := c.links.URL(req, person, c.people[normal(person)].groups...)
	if err != nil {
		return message{}, fmt.Errorf("email: %w", err)
	}
	v := c.viewOf(req, s, person, now)
	v.Link, v.Until = at, req.ExpiresAt.Format(when)
	return message{
		id: c.messageID(req, person, "question"), person: person, view: v,
		subject: fmt.Sprintf("Approve %s? Run %s", req.Subject(), wording.Visible(wording.Cut(req.Run, mostName))),
	}, nil
}

func (c *Channel) updateMail(req *approval.Request, s approval.Standing, person string, now time.Time) message {
	v := c.viewOf(req, s, person, now)
	kind, title := s.State.String(), v.Outcome
	if s.State == approval.Open {
		last := s.Votes[len(s.Votes)-1]
		kind, title = fmt.Sprintf("vote %d", len(s.Votes)), wording.Visible(wording.Cut(last.By, mostName))+" said yes"
		v.Note = wording.Unlink(title) + "; still needed: " + wording.Unlink(wording.Visible(wording.Cut(s.Missing, mostSubject))) + ". The link to decide is in the mail before."
		v.Until = req.ExpiresAt.Format(when)
	}
	return message{
		id: c.messageID(req, person, kind), answers: c.messageID(req, person, "question"), person: person, view: v,
		subject: fmt.Sprintf("%s: %s, run %s", wording.Cut(title, mostName), req.Subject(), wording.Visible(wording.Cut(req.Run, mostName))),
	}
}

func stepOf(req *approval.Request) string {
	if req.Step == nil {
		return ""
	}
	return req.Step.ID()
}

// messageID is the same whenever the same is sent to the same person.
func (c *Channel) messageID(req *approval.Request, person, kind string) string {
	sum := sha256.Sum256([]byte(req.Key + "\x00" + normal(person) + "\x00" + kind))
	_, domain, _ := strings.Cut(c.from.Address, "@")
	return hex.EncodeToString(sum[:16]) + "@" + domain
}

// compose writes a mail.
func (c *Channel) compose(m message) (*gomail.Msg, error) {
	style, err := templates.ReadFile("templates/style.css")
	if err != nil {
		return nil, err
	}
	m.view.Style = template.CSS(style)
	html, err := c.render("mail.html", m.view)
	if err != nil {
		return nil, err
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(c.from)
	msg.ToMailAddress(c.people[normal(m.person)].address)
	msg.Subject(wording.Unlink(header(m.subject, mostSubject)))
	msg.SetMessageIDWithValue(m.id)
	if m.answers != "" {
		msg.SetGenHeader(gomail.HeaderInReplyTo, "<"+m.answers+">")
		msg.SetGenHeader(gomail.HeaderReferences, "<"+m.answers+">")
	}
	msg.SetDate()
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(gomail.TypeTextPlain, text(m.view))
	msg.AddAlternativeString(gomail.TypeTextHTML, string(html))
	return msg, nil
}

// header is a text on one line, cut.
func header(s string, most int) string {
	return wording.Visible(wording.Cut(strings.Join(strings.Fields(s), " "), most))
}

// render renders one of the templates.
func (c *Channel) render(name string, v view) ([]byte, error) {
	var b bytes.Buffer
	if err := c.templates.ExecuteTemplate(&b, name, v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// text is a mail for those who read no HTML. Words that are not ours stand behind a bar on every line.
func text(v view) string {
	var b strings.Builder
	line := func(parts ...string) { b.WriteString(strings.Join(parts, "") + "\n") }
	line(v.Title)
	line(v.Heading)
	line()
	for _, s := range []string{v.Outcome, v.Note} {
		if s != "" {
			line(s)
			line()
		}
	}
	if v.Link != "" {
		line("Look at it and decide, until ", v.Until, ":")
		line(v.Link)
		line("The link is for ", v.Person, " alone, and good for one answer. Following it decides nothing.")
		line()
	}
	before := ""
	for _, f := range v.Brief.Facts {
		if f.Label != before {
			line(f.Label)
		}
		before = f.Label
		bar := "  "
		if f.Quoted {
			bar = "  | "
		}
		for _, l := range f.Lines {
			line(bar, l)
		}
	}
	for _, f := range [][2]string{{"On yes", v.Brief.Yes}, {"On no", v.Brief.No}, {"On silence", v.Brief.Silence}} {
		if f[1] != "" {
			line(f[0])
			line("  ", f[1])
		}
	}
	if len(v.Brief.Drawing) > 0 {
		line()
	}
	for _, l := range v.Brief.Drawing {
		line(l)
	}
	return b.String()
}

// path is that of a link without its token, as the Handler sees it.
func path(base *url.URL) string { return base.Path + "/" }
