package web

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/remedykit/remedy/approval"
)

// mostReason is how many characters of a reason are taken.
const mostReason = 1000

// decideTimeout bounds a decision, for which the executor may look at the cluster again.
const decideTimeout = 40 * time.Second

// formToken binds a form to who was shown it and to what it is about.
func (c *Channel) formToken(p person, run, key, digest string) string {
	var text []byte
	for _, part := range []string{p.name, p.session, run, key, digest} {
		text = strconv.AppendQuote(text, part)
	}
	return encoding.EncodeToString(mac(c.keys.forms, text))
}

// decision takes a form and hands the decision in.
func (c *Channel) decision(w http.ResponseWriter, r *http.Request) {
	p, ok := c.known(w, r)
	if !ok {
		return
	}
	now := time.Now()
	if wait, ok := c.admit(r, p, now); !ok {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		c.tell(w, r, problem{Status: http.StatusTooManyRequests, Title: "Too many decisions at once",
			Text: fmt.Sprintf("Nothing was decided. Try again in %d seconds.", int(wait/time.Second)+1), Back: c.back(p, r)})
		return
	}
	bad := func(status int, title, text string) {
		c.tell(w, r, problem{Status: status, Title: title, Text: text, Back: c.back(p, r)})
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/x-www-form-urlencoded" {
		bad(http.StatusUnsupportedMediaType, "This is no form", "Nothing was decided. Use the form on the page.")
		return
	}
	if err := r.ParseForm(); err != nil {
		if tooLarge(err) {
			bad(http.StatusRequestEntityTooLarge, "That was too long", "Nothing was decided. Write a shorter reason.")
			return
		}
		bad(http.StatusBadRequest, "The form did not arrive whole", "Nothing was decided. Open the page and try again.")
		return
	}
	run, f := c.runOf(p, r), r.PostForm
	key, digest, reason := f.Get("request"), f.Get("digest"), strings.TrimSpace(f.Get("reason"))
	token, _ := encoding.DecodeString(f.Get("token"))
	want, _ := encoding.DecodeString(c.formToken(p, run, key, digest))
	if !hmac.Equal(token, want) {
		bad(http.StatusForbidden, "This form is not yours", "Nothing was decided. It was made for somebody else or for another question, or you have signed in again since. Open the page and decide there.")
		return
	}
	verdict := map[string]approval.Verdict{"approve": approval.Approved, "reject": approval.Rejected}[f.Get("verdict")]
	if verdict == 0 {
		bad(http.StatusBadRequest, "That was neither yes nor no", "Nothing was decided. Open the page and choose one.")
		return
	}
	if !utf8.ValidString(reason) || utf8.RuneCountInString(reason) > mostReason {
		bad(http.StatusBadRequest, "The reason is too long", fmt.Sprintf("Nothing was decided. Use at most %d characters.", mostReason))
		return
	}
	err := c.handIn(r.Context(), p, run, key, approval.Decision{Verdict: verdict, By: p.name, Groups: p.groups, Reason: reason, Digest: digest})
	if err != nil {
		c.refused(w, r, p, run, key, err)
		return
	}
	http.Redirect(w, r, c.pagePath(p, run, key), http.StatusSeeOther)
}

// admit bounds decisions by person and by address. A trusted proxy's address stands for everybody.
func (c *Channel) admit(r *http.Request, p person, now time.Time) (time.Duration, bool) {
	if _, proxied := c.identity.(*proxied); !proxied {
		if wait, ok := c.peers.allow(peerName(r.RemoteAddr), now); !ok {
			return wait, false
		}
	}
	return c.people.allow(strings.ToLower(p.name), now)
}

// What a decision may come to grief on before the executor sees it.
var (
	errUnknown  = errors.New("this question is not known here")
	errUsed     = errors.New("this link has been used")
	errOther    = errors.New("this link is for another question")
	errDetached = errors.New("nobody conducts runs here yet")
)

// handIn hands a decision to the executor.
func (c *Channel) handIn(ctx context.Context, p person, run, key string, d approval.Decision) error {
	ex := c.executor.Load()
	if ex == nil {
		return errDetached
	}
	v := c.shelf.view(run)
	e := v.entry(key)
	if e == nil {
		return errUnknown
	}
	if p.link != nil {
		if p.link.Key != key || p.link.Run != run {
			return errOther
		}
		if c.linkUsed(p, e) {
			return errUsed
		}
		release, ok := c.shelf.spend(run, key, p.session)
		if !ok {
			return errUsed
		}
		defer func() { release() }()
		if p.link.Digest != d.Digest {
			return approval.ErrDigest
		}
		err := c.submit(ctx, ex, e, d)
		if err == nil {
			release = func() {}
		}
		return err
	}
	return c.submit(ctx, ex, e, d)
}

func (c *Channel) submit(ctx context.Context, ex approval.Decider, e *entry, d approval.Decision) error {
	// A decision that has begun is not undone by a browser that goes away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), decideTimeout)
	defer cancel()
	step := ""
	if e.req.Step != nil {
		step = e.req.Step.ID()
	}
	return ex.Decide(ctx, e.req.Run, step, d)
}

// linkUsed tells whether the gate has the decision of a link's person, also of one that a former process took.
func (c *Channel) linkUsed(p person, e *entry) bool {
	s := c.standing(e, time.Now()).now
	for _, v := range s.Votes {
		if strings.EqualFold(strings.TrimSpace(v.By), strings.TrimSpace(p.name)) {
			return true
		}
	}
	return false
}

// refused shows the page with why a decision did not count.
func (c *Channel) refused(w http.ResponseWriter, r *http.Request, p person, run, key string, err error) {
	a := answer(err)
	v := c.shelf.view(run)
	if e := v.entry(key); e != nil && (a.decided) {
		if s := c.standing(e, time.Now()).now; s.State != approval.Open {
			a.Text = closing(s) + " " + a.Text
		}
	}
	if v.entry(key) == nil {
		c.tell(w, r, problem{Status: a.Status, Title: a.Title, Text: a.Text, Back: c.back(p, r)})
		return
	}
	c.show(w, r, p, run, key, &a)
}

// answer says for people why a decision did not count, and what to do.
func answer(err error) notice {
	const nothing = "Your answer changed nothing."
	switch {
	case errors.Is(err, approval.ErrVoted):
		return notice{Status: http.StatusConflict, Title: "You have said yes before", Text: "Your yes counts once. Another person has to say yes as well; until then you can still say no."}
	case errors.Is(err, errUsed):
		return notice{Status: http.StatusConflict, Title: "This link has been used", Text: nothing + " A link is good for one answer.", decided: true}
	case errors.Is(err, approval.ErrExpired):
		return notice{Status: http.StatusGone, Title: "This came too late", Text: nothing + " The time was up, which means no. If it is still needed, start the run again.", decided: true}
	case errors.Is(err, approval.ErrDecided):
		return notice{Status: http.StatusConflict, Title: "This has been decided", Text: nothing, decided: true}
	case errors.Is(err, approval.ErrDigest):
		return notice{Status: http.StatusConflict, Title: "What you were shown has changed",
			Text: "Your answer was not counted." + changes(tail(err, approval.ErrDigest)) + " Look at what is asked now, and decide about that."}
	case errors.Is(err, approval.ErrNotApprover):
		return notice{Status: http.StatusForbidden, Title: "You may not decide this", Text: sentence(tail(err, approval.ErrNotApprover)) + " Ask somebody who may."}
	case errors.Is(err, errUnknown):
		return notice{Status: http.StatusNotFound, Title: "This question is not known here", Text: "Nothing was decided. The run may have ended long ago, or not be resumed yet."}
	case errors.Is(err, errOther):
		return notice{Status: http.StatusForbidden, Title: "This link is for another question", Text: nothing}
	case errors.Is(err, errDetached):
		return notice{Status: http.StatusServiceUnavailable, Title: "Nothing runs here yet", Text: "Nothing was decided. Try again soon."}
	case errors.Is(err, approval.ErrNotAsked):
		return notice{Status: http.StatusConflict, Title: "No answer is needed any more", Text: nothing + " The question was withdrawn.", decided: true}
	}
	return notice{Status: http.StatusInternalServerError, Title: "It is not certain whether this counted",
		Text: "Handing the answer in failed. Look below how the question stands before you try again: " + shown(err.Error())}
}

// changes says what has changed, when an executor says it.
func changes(s string) string {
	if s = strings.TrimSpace(shown(s)); s == "" {
		return ""
	}
	return " What has changed: " + s + "."
}

// tail is what an error says behind the one that it wraps.
func tail(err, sentinel error) string {
	_, after, _ := strings.Cut(err.Error(), sentinel.Error())
	return strings.TrimPrefix(after, ": ")
}

// sentence makes a sentence of words; "" of none.
func sentence(s string) string {
	if s = strings.TrimSpace(shown(s)); s == "" {
		return ""
	}
	return upper(strings.TrimSuffix(s, ".")) + "."
}

// runOf is the run that a request is about.
func (c *Channel) runOf(p person, r *http.Request) string {
	if p.link != nil {
		return p.link.Run
	}
	return r.PathValue("run")
}

// root is the path below which everything about a run is, for a person.
func (c *Channel) root(p person, run string) string {
	if p.link != nil {
		return c.path + "/link/" + p.token
	}
	return c.path + "/runs/" + url.PathEscape(run)
}

// pagePath is the page about a request.
func (c *Channel) pagePath(p person, run, key string) string {
	if p.link != nil || key == "" {
		return c.root(p, run)
	}
	return c.root(p, run) + "?" + url.Values{"request": {key}}.Encode()
}

// back is the page that a form was on.
func (c *Channel) back(p person, r *http.Request) string { return c.root(p, c.runOf(p, r)) }
