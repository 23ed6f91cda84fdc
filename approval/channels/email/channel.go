package email

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/channels/link"
)

// Options of a Channel.
type Options struct {
	// URL is where people reach the Handler, such as https://remedy.example.com/approve. It is https, or http to a loopback address.
	// Required without Links.
	URL string
	// Key signs the links: a secret of at least 32 random bytes, the same in every process that serves URL. Required without Links.
	Key []byte
	// Links makes links to pages of somebody else, such as those of package web, in place of URL, Key and the Handler.
	Links Links
	// From is the sender's address, such as "Remedy <remedy@example.com>". Required.
	From string
	// People who can be asked, by identity. Required.
	People map[string]Person
	// Server takes the mails. Required.
	Server Server
	// Timeout bounds what sending the mails about one change of one request may take. Defaults to 1m.
	Timeout time.Duration
}

// Links makes a link with which a person, who is in some groups, can answer a request. It is mailed to that person only. It may be called
// from several goroutines at once.
type Links interface {
	URL(req *approval.Request, person string, groups ...string) (string, error)
}

// A Person can be asked by e-mail.
type Person struct {
	// Address is such as "ann@example.com". Required.
	Address string
	// Groups are those that the person is in, as a policy names them.
	Groups []string
}

// A Channel asks by e-mail. It is an [approval.Approver] and [approval.Updater], and safe for concurrent use.
//
// An error of Approve or Update means that somebody was not told. Those who were are not told again when it is called again, as
// [approval.Broadcast] does.
type Channel struct {
	links   Links
	base    *url.URL     // nil when links are somebody else's
	signer  *link.Signer // likewise
	from    *mail.Address
	people  directory
	server  Server
	timeout time.Duration

	templates *template.Template

	mu        sync.Mutex // guards what follows
	questions map[string]*question
	answers   map[string]*answer // by token
}

var _ approval.Updater = (*Channel)(nil)

// New returns a Channel, or says which of the Options is missing or wrong.
func New(o Options) (*Channel, error) {
	c := &Channel{links: o.Links, server: o.Server, timeout: o.Timeout, questions: map[string]*question{}, answers: map[string]*answer{}}
	if err := c.link(o); err != nil {
		return nil, err
	}
	from, err := mail.ParseAddress(o.From)
	if err != nil {
		return nil, fmt.Errorf("email: From %q is no e-mail address", o.From)
	}
	people, err := newDirectory(o.People)
	if err != nil {
		return nil, err
	}
	if err := o.Server.check(); err != nil {
		return nil, err
	}
	parsed, err := template.ParseFS(templates, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("email: %w", err)
	}
	if c.timeout <= 0 {
		c.timeout = time.Minute
	}
	c.from, c.people, c.templates = from, people, parsed
	return c, nil
}

// link takes what makes links from the Options.
func (c *Channel) link(o Options) (err error) {
	if o.Links != nil {
		if o.URL != "" || len(o.Key) > 0 {
			return errors.New("email: Links is given with URL or Key: those are for the channel's own links")
		}
		return nil
	}
	if c.base, err = parseURL(o.URL); err != nil {
		return err
	}
	if c.signer, err = link.New(o.Key); err != nil {
		return fmt.Errorf("email: Key: %w", err)
	}
	c.links = ownLinks{c.base, c.signer}
	return nil
}

// ownLinks are those that the Handler knows.
type ownLinks struct {
	base   *url.URL
	signer *link.Signer
}

// URL leaves the groups out: the Handler knows who is in which by then.
func (l ownLinks) URL(req *approval.Request, person string, _ ...string) (string, error) {
	token, err := l.signer.Make(link.Claims{Run: req.Run, Step: stepOf(req), Request: req.Key, Digest: req.Digest, Person: person, Expires: req.ExpiresAt})
	return l.base.JoinPath(token).String(), err
}

func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(u.Path, "{} "):
		return nil, errors.New("email: URL is to be the address of the Handler, such as https://remedy.example.com/approve")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return nil, fmt.Errorf("email: URL %s is not https: whoever sees a link on its way could decide", u.Redacted())
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// A question is a request that was mailed, or is to be.
type question struct {
	sending sync.Mutex // held while mails about it go out, so that they do so in order
	sent    map[string]bool
	asked   []string // identities that have the question
	perhaps []string // identities that may have it: sending it was cut short
	began   bool     // this process has begun to ask, or knows from a receipt who was asked
	known   bool     // all have been asked whom Approve is to ask

	// guarded by the Channel's lock
	req      *approval.Request
	standing approval.Standing
}

// question returns the one of a request, and forgets those whose time is up.
func (c *Channel) question(req *approval.Request) *question {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for key, q := range c.questions {
		if key != req.Key && !now.Before(q.req.ExpiresAt) {
			delete(c.questions, key)
		}
	}
	for token, a := range c.answers {
		if !now.Before(a.expires) {
			delete(c.answers, token)
		}
	}
	q := c.questions[req.Key]
	if q == nil {
		q = &question{sent: map[string]bool{}}
		c.questions[req.Key] = q
	}
	q.req = req
	return q
}

// progress orders the standings of one request.
func progress(s approval.Standing) int {
	n := 2 * len(s.Votes)
	if s.Escalated {
		n++
	}
	if s.State != approval.Open {
		n += 1 << 20
	}
	return n
}

// note keeps how a request stands, unless something later is known already.
func (c *Channel) note(q *question, s approval.Standing) (latest bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if progress(s) < progress(q.standing) {
		return false
	}
	q.standing = s
	return true
}

// Approve mails the question to all who may decide by now and have not got it, and returns [approval.Pending].
func (c *Channel) Approve(ctx context.Context, req *approval.Request) (*approval.Decision, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	q := c.question(req)
	q.sending.Lock()
	defer q.sending.Unlock()
	q.remember(req.Receipt)
	q.began = true
	if !q.known {
		if err := c.ask(ctx, q, req, approval.NewTally(req).Standing(time.Now())); err != nil {
			return nil, err
		}
		q.known = true
	}
	receipt, err := json.Marshal(q.asked)
	if err != nil {
		return nil, fmt.Errorf("email: %w", err)
	}
	return &approval.Decision{Verdict: approval.Pending, Receipt: string(receipt)}, nil
}

// remember takes from a receipt whom a former process asked.
func (q *question) remember(receipt string) {
	var asked []string
	if q.known || json.Unmarshal([]byte(receipt), &asked) != nil {
		return
	}
	q.began, q.known = true, true
	for _, name := range asked {
		q.asked = with(q.asked, name)
	}
}

// has tells whether somebody is among names.
func has(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return normal(n) == normal(name) })
}

// with is names with another one, once.
func with(names []string, name string) []string {
	if has(names, name) {
		return names
	}
	return append(names, name)
}

// ask mails the question to who should have it and has not.
func (c *Channel) ask(ctx context.Context, q *question, req *approval.Request, s approval.Standing) error {
	now := time.Now()
	names := c.people.panel(req, now)
	if len(names) == 0 {
		return fmt.Errorf("email: nobody can be asked about %s: People has none of those who may decide", req.Subject())
	}
	var mails []message
	for _, name := range names {
		if has(q.asked, name) {
			continue
		}
		m, err := c.questionMail(req, s, name, now)
		if err != nil {
			return err
		}
		mails = append(mails, m)
	}
	return c.deliver(ctx, mails, func(m message, surely bool) {
		if surely {
			q.asked = with(q.asked, m.person)
		} else {
			q.perhaps = with(q.perhaps, m.person)
		}
	})
}

// Update mails what became of a request to all who were asked: an escalation's question to who is asked by it, a yes that
// leaves the request open, and its end.
func (c *Channel) Update(ctx context.Context, req *approval.Request, s approval.Standing) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	q := c.question(req)
	q.sending.Lock()
	defer q.sending.Unlock()
	if !c.note(q, s) {
		return nil
	}
	q.remember(req.Receipt)
	var errs []error
	if s.State == approval.Open && s.Escalated {
		errs = append(errs, c.ask(ctx, q, req, s))
	}
	if s.State == approval.Open && len(s.Votes) == 0 {
		return errors.Join(errs...)
	}
	var mails []message
	for _, name := range c.told(q, req) {
		voted := slices.ContainsFunc(s.Votes, func(v approval.Vote) bool { return normal(v.By) == normal(name) })
		if s.State == approval.Open && voted {
			continue
		}
		if m := c.updateMail(req, s, name, time.Now()); !q.sent[m.id] {
			mails = append(mails, m)
		}
	}
	errs = append(errs, c.deliver(ctx, mails, func(m message, surely bool) { q.sent[m.id] = surely }))
	return errors.Join(errs...)
}

// told are those who hear what became of a request: who was asked, as far as this process or its receipt knows, or else who
// should have been.
func (c *Channel) told(q *question, req *approval.Request) []string {
	if q.began {
		all := slices.Clone(q.asked)
		for _, name := range q.perhaps {
			all = with(all, name)
		}
		return all
	}
	return c.people.panel(req, time.Now())
}
