package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/artifact"
	"github.com/remedykit/remedy/internal/patience"
)

// A Message is what people are told. Its texts are plain, and cut.
type Message struct {
	// Key is the same for every try of one step: receivers can tell by it what they know already.
	Key string `json:"key"`
	// Title is one line, Text the whole.
	Title string `json:"title"`
	Text  string `json:"text"`
	Run   string `json:"run"`
	Step  string `json:"step"`
	// What the plan says of it; "" where it says nothing.
	Type     string `json:"type,omitempty"`
	Project  string `json:"project,omitempty"`
	Priority string `json:"priority,omitempty"`
	Severity string `json:"severity,omitempty"`
	// Attachments are the names of what earlier steps left.
	Attachments []string `json:"attachments,omitempty"`

	store artifact.Store
	names []string // of Attachments, as the plan gives them: what is shown of one may be that of another
}

// A Sender delivers messages. It must be safe for concurrent use. An error that another try may mend is marked by
// [actions.Transient].
type Sender interface {
	Send(ctx context.Context, m *Message) error
}

// Options of a Notifier.
type Options struct {
	// Senders by the name that a plan gives for a channel, a type or a project, in this order.
	Senders map[string]Sender
	// Default gets what goes to none of Senders. Nil: such a step fails.
	Default Sender
	// Artifacts is where earlier steps left what is attached. Nil: attachments are only named.
	Artifacts artifact.Store
}

// A Notifier carries notify_only out. It is safe for concurrent use.
type Notifier struct {
	senders   map[string]Sender
	fallback  Sender
	artifacts artifact.Store
}

// New returns a Notifier. It needs a sender at least.
func New(o Options) (*Notifier, error) {
	if len(o.Senders) == 0 && o.Default == nil {
		return nil, errors.New("notify: Options has no sender: set Default")
	}
	return &Notifier{maps.Clone(o.Senders), o.Default, o.Artifacts}, nil
}

// Handlers is notify_only.
func (n *Notifier) Handlers() actions.Handlers { return actions.Handlers{"notify_only": handler{n}} }

// The bounds of a message, in characters.
const (
	maxTitle = 120
	maxText  = 8000
	maxWord  = 80
	maxName  = 255 // what is attached must be known by it, so it is as long as names of files are
)

// plain is a text without control characters and what turns text around, cut. Lines stay when there may be several.
func plain(s string, most int, lines bool) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if r == '\n' && lines {
			// kept
		} else if unicode.IsSpace(r) {
			r = ' '
		} else if !unicode.IsPrint(r) {
			continue
		}
		if n++; n > most {
			b.WriteRune('…')
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

func (n *Notifier) message(req *actions.Request) *Message {
	p := req.Parameters
	text := cmp.Or(plain(p.String("message"), maxText, true), plain(req.Description, maxText, true), "step "+req.Step+" has something to tell")
	title, _, _ := strings.Cut(text, "\n")
	m := &Message{Key: req.Key(), Title: plain(title, maxTitle, false), Text: text, Run: req.Run, Step: plain(req.Step, maxName, false),
		Type: plain(p.String("type"), maxWord, false), Project: plain(p.String("project"), maxWord, false),
		Priority: plain(p.String("priority"), maxWord, false), Severity: plain(p.String("severity"), maxWord, false), store: n.artifacts}
	names, _ := p.Get("attachments").([]string)
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		if !seen[name] {
			seen[name] = true
			m.names = append(m.names, name)
			m.Attachments = append(m.Attachments, plain(name, maxName, false))
		}
	}
	return m
}

// sender is where a step's message goes.
func (n *Notifier) sender(req *actions.Request) (Sender, string, error) {
	for _, by := range []string{"channel", "type", "project"} {
		if name := req.Parameters.String(by); name != "" {
			if s := n.senders[name]; s != nil {
				return s, name, nil
			}
		}
	}
	if n.fallback == nil {
		return nil, "", actions.Permanent(fmt.Errorf("notify_only: no channel, type or project of the step is configured: there are %v", slices.Sorted(maps.Keys(n.senders))))
	}
	return n.fallback, "the default", nil
}

type handler struct{ n *Notifier }

// Execute delivers the message, and tries again until the step's time is up.
func (h handler) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	s, name, err := h.n.sender(req)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	m := h.n.message(req)
	var last error
	err = patience.Try(ctx, func() error {
		err := s.Send(ctx, m)
		if err != nil && last != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return last // the time was up in the middle of a try: the one before says why nobody was told
		}
		last = err
		return err
	})
	if err != nil {
		return nil, err
	}
	return &actions.Result{Message: "told " + name}, nil
}

// DryRun says where the message would go, and tells nobody.
func (h handler) DryRun(_ context.Context, req *actions.Request) (*actions.Preview, error) {
	_, name, err := h.n.sender(req)
	if err != nil {
		return nil, err
	}
	return &actions.Preview{Change: []string{"tell " + name + ": " + h.n.message(req).Title}}, nil
}
