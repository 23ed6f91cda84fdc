package email

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/channels/link"
	"github.com/remedykit/remedy/internal/wording"
)

const (
	maxBody   = 16 << 10
	maxReason = 600 // characters
	// readTime bounds how long a client may take to send its answer, decideTime how long that may take to be taken.
	readTime, decideTime = 10 * time.Second, 30 * time.Second
)

// An answer is the one that a token was used for.
type answer struct {
	expires time.Time
	verdict approval.Verdict
	done    bool // false: it is being handed in
}

// Handler serves the page that links lead to, below the path of Options.URL and for its host alone, and hands decisions to d, which
// is an executor. It wants nothing of what is in front of it but TLS and the Host header as it came. Its answers are not to be
// cached, framed or read by scripts. With Options.Links it serves nothing.
func (c *Channel) Handler(d approval.Decider) http.Handler {
	if c.base == nil {
		return http.NotFoundHandler()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+path(c.base)+"style.css", c.style)
	mux.HandleFunc("GET "+path(c.base)+"{token}", c.show)
	mux.HandleFunc("POST "+path(c.base)+"{token}", func(w http.ResponseWriter, r *http.Request) { c.take(w, r, d) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer") // the address is the right to decide
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !strings.EqualFold(r.Host, c.base.Host) {
			http.Error(w, "This page is not served under that name.", http.StatusMisdirectedRequest)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (c *Channel) style(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, templates, "templates/style.css")
}

// show shows the question, and changes nothing.
func (c *Channel) show(w http.ResponseWriter, r *http.Request) {
	claims, refusal, status := c.verify(r.PathValue("token"))
	if refusal != "" {
		c.write(w, status, c.page(claims, refusal, true))
		return
	}
	if used := c.used(r.PathValue("token")); used != nil {
		c.write(w, http.StatusOK, c.page(claims, used.String(), false))
		return
	}
	v := c.page(claims, "", false)
	v.Ask = v.Outcome == ""
	c.write(w, http.StatusOK, v)
}

// take takes an answer.
func (c *Channel) take(w http.ResponseWriter, r *http.Request, d approval.Decider) {
	token := r.PathValue("token")
	claims, refusal, status := c.verify(token)
	if refusal != "" {
		c.write(w, status, c.page(claims, refusal, true))
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTime)) // where it can be set
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		status := http.StatusBadRequest
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			status = http.StatusRequestEntityTooLarge
		}
		c.write(w, status, c.page(claims, "That could not be read, so nothing was decided.", true))
		return
	}
	decision := approval.Decision{
		By: claims.Person, Groups: c.people[normal(claims.Person)].groups, Digest: claims.Digest,
		Reason: wording.Cut(strings.TrimSpace(strings.ToValidUTF8(r.PostForm.Get("reason"), "�")), maxReason),
	}
	switch r.PostForm.Get("verdict") {
	case "approve":
		decision.Verdict = approval.Approved
	case "reject":
		decision.Verdict = approval.Rejected
	default:
		v := c.page(claims, "That was neither yes nor no, so nothing was decided.", true)
		v.Ask = v.Outcome == ""
		c.write(w, http.StatusBadRequest, v)
		return
	}
	mine := &answer{expires: claims.Expires, verdict: decision.Verdict}
	if used := c.use(token, mine); used != nil {
		c.write(w, http.StatusConflict, c.page(claims, used.String(), true))
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), decideTime) // a click counts, whether or not its sender stays
	defer cancel()
	if err := d.Decide(ctx, claims.Run, claims.Step, decision); err != nil {
		c.release(token)
		v := c.page(claims, "Not counted: "+wording.Visible(wording.Cut(err.Error(), maxReason))+".", true)
		c.write(w, statusOf(err), v)
		return
	}
	c.done(mine)
	c.write(w, http.StatusOK, c.page(claims, (&answer{verdict: decision.Verdict, done: true}).String(), false))
}

// verify says why a link is not good for anything any more, if so.
func (c *Channel) verify(token string) (claims link.Claims, refusal string, status int) {
	claims, err := c.signer.Verify(token, time.Now())
	switch {
	case errors.Is(err, link.ErrExpired):
		return claims, "This link has expired. What nobody answers in time counts as a no.", http.StatusGone
	case err != nil:
		return link.Claims{}, "This link is damaged, or was not made here. Copy the whole of it from the mail.", http.StatusForbidden
	}
	if _, ok := c.people[normal(claims.Person)]; !ok {
		return claims, "Whom this link was for cannot decide any more.", http.StatusForbidden
	}
	return claims, "", 0
}

// page is the view of what a link is about.
func (c *Channel) page(claims link.Claims, note string, bad bool) view {
	v := view{Title: "Approval", Person: wording.Visible(claims.Person)}
	c.mu.Lock()
	var req *approval.Request
	var standing approval.Standing
	if q := c.questions[claims.Request]; q != nil && q.req.Digest == claims.Digest && q.req.Run == claims.Run {
		req, standing = q.req, q.standing
	}
	c.mu.Unlock()
	switch {
	case req != nil:
		v = c.viewOf(req, standing, claims.Person, time.Now())
	case claims.Run != "":
		what := "the plan as a whole"
		if claims.Step != "" {
			what = "step " + wording.Visible(claims.Step)
		}
		v.Title = fmt.Sprintf("Approve %s of run %s?", what, wording.Visible(claims.Run))
		v.Heading = "What is asked is in the mail that this link came with: this process does not hold it. A decision counts only for what the mail shows."
	}
	v.Until = claims.Expires.UTC().Format(when)
	v.Note, v.Bad, v.Sheet = note, bad, path(c.base)+"style.css"
	return v
}

func (c *Channel) write(w http.ResponseWriter, status int, v view) {
	data, err := c.render("page.html", v)
	if err != nil {
		http.Error(w, "The page cannot be shown.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// used is what a token was used for, nil when it was not.
func (c *Channel) used(token string) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answers[token].copy()
}

// use claims a token for an answer, or returns what it was used for.
func (c *Channel) use(token string, a *answer) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before := c.answers[token]; before != nil {
		return before.copy()
	}
	c.answers[token] = a
	return nil
}

func (c *Channel) release(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.answers, token)
}

func (c *Channel) done(a *answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a.done = true
}

func (a *answer) copy() *answer {
	if a == nil {
		return nil
	}
	b := *a
	return &b
}

// String says for people what a link was used for.
func (a *answer) String() string {
	word := "yes"
	if a.verdict == approval.Rejected {
		word = "no"
	}
	if !a.done {
		return "Your " + word + " is being counted. This link is good for one answer."
	}
	return "Your " + word + " was counted. This link has been used, and is good for nothing more."
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, approval.ErrExpired):
		return http.StatusGone
	case errors.Is(err, approval.ErrNotApprover):
		return http.StatusForbidden
	case errors.Is(err, approval.ErrDecided), errors.Is(err, approval.ErrVoted), errors.Is(err, approval.ErrDigest), errors.Is(err, approval.ErrNotAsked):
		return http.StatusConflict
	}
	return http.StatusServiceUnavailable
}
