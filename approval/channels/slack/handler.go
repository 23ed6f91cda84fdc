package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/internal/wording"
)

const (
	maxBody   = 1 << 20 // Slack sends the whole message along
	maxReason = 600
	// Slack waits 3 s for an answer. A click that takes longer goes on without anybody waiting for it.
	answerTime, clickTime = 2500 * time.Millisecond, 20 * time.Second
	readTime              = 5 * time.Second
	// signatureLife is how far from now the time of a signature may be.
	signatureLife = 5 * time.Minute
)

// Handler takes clicks from Slack: it belongs at the app's Interactivity Request URL. Decisions are handed to d, which is an executor.
// Whether a click counted is told to who clicked, and to nobody else.
func (c *Channel) Handler(d approval.Decider) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "Slack posts here.", http.StatusMethodNotAllowed)
			return
		}
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTime)) // where it can be set
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			status := http.StatusBadRequest
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				status = http.StatusRequestEntityTooLarge
			}
			http.Error(w, "That cannot be read.", status)
			return
		}
		if err := c.verify(r.Header, body); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		click, err := parse(body)
		if err != nil {
			http.Error(w, "That is no interaction.", http.StatusBadRequest)
			return
		}
		c.answer(w, r, func(ctx context.Context) error { return c.take(ctx, click, d) })
	})
}

// Wait waits until the clicks that are being handled have been; their http.Server should have been shut down.
func (c *Channel) Wait() { c.clicks.Wait() }

// answer answers Slack in time, whatever f takes.
func (c *Channel) answer(w http.ResponseWriter, r *http.Request, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), clickTime)
	done := make(chan error, 1)
	c.clicks.Go(func() {
		defer cancel()
		done <- f(ctx)
	})
	timer := time.NewTimer(answerTime)
	defer timer.Stop()
	select {
	case err := <-done:
		if err != nil { // Slack marks the click as failed
			http.Error(w, "The click could not be handled.", http.StatusInternalServerError)
		}
	case <-timer.C:
	}
}

// verify refuses what Slack has not signed, or not lately, or what was here before.
func (c *Channel) verify(header http.Header, body []byte) error {
	refused := errors.New("this is not signed by Slack, or not within five minutes of now: check the signing secret and the clock")
	v, err := slack.NewSecretsVerifier(header, c.secret)
	if err != nil {
		return refused
	}
	if _, err := v.Write(body); err != nil || v.Ensure() != nil {
		return refused
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.seen, func(_ string, until time.Time) bool { return now.After(until) })
	signature := strings.ToLower(header.Get("X-Slack-Signature")) // of hexadecimal digits
	if _, ok := c.seen[signature]; ok {
		return errors.New("this was here before")
	}
	c.seen[signature] = now.Add(2*signatureLife + time.Second) // it may be of a clock that is ahead
	return nil
}

func parse(body []byte) (*slack.InteractionCallback, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	click := &slack.InteractionCallback{}
	return click, json.Unmarshal([]byte(form.Get("payload")), click)
}

// take takes a click. Its error means that who clicked could not be told what came of it.
func (c *Channel) take(ctx context.Context, click *slack.InteractionCallback, d approval.Decider) error {
	switch click.Type {
	case slack.InteractionTypeBlockActions:
		var errs []error
		for _, a := range click.ActionCallback.BlockActions {
			if a != nil && (a.ActionID == actionApprove || a.ActionID == actionReject) {
				errs = append(errs, c.button(ctx, click, a, d))
			}
		}
		return errors.Join(errs...)
	case slack.InteractionTypeViewSubmission:
		if click.View.CallbackID == actionReject {
			return c.reject(ctx, click, d)
		}
	}
	return nil
}

// button is a click on one of the two.
func (c *Channel) button(ctx context.Context, click *slack.InteractionCallback, a *slack.BlockAction, d approval.Decider) error {
	where := dialog{Channel: click.Channel.ID, Value: a.Value}
	person, t, err := c.authorise(ctx, click, a.Value)
	if err != nil {
		return c.whisper(ctx, where.Channel, click.User.ID, "Not counted: "+err.Error()+".")
	}
	if a.ActionID == actionApprove {
		return c.decide(ctx, where.Channel, click.User.ID, t, approval.Decision{Verdict: approval.Approved, By: person.Name, Groups: person.Groups, Digest: t.Digest}, d)
	}
	view, err := where.view(t)
	if err != nil {
		return err
	}
	err = c.call(ctx, "open the dialog", func() error {
		_, err := c.api.OpenViewContext(ctx, click.TriggerID, view)
		return err
	})
	if err != nil {
		return c.whisper(ctx, where.Channel, click.User.ID, "Not counted: the dialog for your reason could not be opened. Click again.")
	}
	return nil
}

// reject is a dialog that was submitted.
func (c *Channel) reject(ctx context.Context, click *slack.InteractionCallback, d approval.Decider) error {
	var where dialog
	if err := json.Unmarshal([]byte(click.View.PrivateMetadata), &where); err != nil {
		return err
	}
	person, t, err := c.authorise(ctx, click, where.Value)
	if err != nil {
		return c.whisper(ctx, where.Channel, click.User.ID, "Not counted: "+err.Error()+".")
	}
	reason := ""
	if s := click.View.State; s != nil {
		reason = wording.Cut(strings.TrimSpace(s.Values[inputReason][inputReason].Value), maxReason)
	}
	return c.decide(ctx, where.Channel, click.User.ID, t, approval.Decision{Verdict: approval.Rejected, By: person.Name, Groups: person.Groups, Digest: t.Digest, Reason: reason}, d)
}

// decide hands a decision in, and tells who made it what came of it.
func (c *Channel) decide(ctx context.Context, channel, user string, t token, decision approval.Decision, d approval.Decider) error {
	word := "yes"
	if decision.Verdict == approval.Rejected {
		word = "no"
	}
	if err := d.Decide(ctx, t.Run, t.Step, decision); err != nil {
		return c.whisper(ctx, channel, user, fmt.Sprintf("Your %s was not counted: %s.", word, err))
	}
	return c.whisper(ctx, channel, user, fmt.Sprintf("Your %s to %s was counted.", word, t))
}

// String names what is asked about.
func (t token) String() string {
	if t.Step == "" {
		return "the plan of run " + t.Run
	}
	return "step " + t.Step + " of run " + t.Run
}

// authorise says who clicked, and on what.
func (c *Channel) authorise(ctx context.Context, click *slack.InteractionCallback, value string) (Person, token, error) {
	t, err := decode(value)
	if err != nil {
		return Person{}, t, err
	}
	if p, ok := c.people[click.User.ID]; ok {
		return p, t, nil
	}
	unknown := fmt.Errorf("you (%s) are none of those who may decide here; who set this up can add you", click.User.ID)
	if !c.byAddress() {
		return Person{}, t, unknown
	}
	var user *slack.User
	err = c.call(ctx, "look up your e-mail address", func() error {
		var err error
		user, err = c.api.GetUserInfoContext(ctx, click.User.ID)
		return err
	})
	if err != nil {
		return Person{}, t, err
	}
	// An address is only as good as who vouches for it: not another workspace, and not its owner.
	p, ok := c.people[normal(user.Profile.Email)]
	if !ok || user.Profile.Email == "" || user.ID != click.User.ID || user.Deleted || user.IsBot || user.IsStranger || !user.IsEmailConfirmed || user.TeamID != click.Team.ID {
		return Person{}, t, unknown
	}
	return p, t, nil
}

// byAddress tells whether people are known by their e-mail addresses.
func (c *Channel) byAddress() bool {
	for id := range c.people {
		if strings.Contains(id, "@") {
			return true
		}
	}
	return false
}

// whisper tells one person something.
func (c *Channel) whisper(ctx context.Context, channel, user, text string) error {
	text = wording.Visible(wording.Cut(text, maxReason))
	return c.call(ctx, "answer a click", func() error {
		_, err := c.api.PostEphemeralContext(ctx, channel, user,
			slack.MsgOptionText(wording.Unlink(text), true), slack.MsgOptionBlocks(slack.NewRichTextBlock("", section(literal(text, mostText)))))
		return err
	})
}
