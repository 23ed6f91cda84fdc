package web

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/executor"
)

// Options configure a Channel. URL, Key and one of Proxy, OIDC and Links are required.
type Options struct {
	// URL is where people reach the pages, as "https://approvals.example.com" or with a path below it. Requests for another
	// host are refused. It must be https; http is for loopback addresses.
	URL string
	// Key signs forms, sessions and links: at least 32 bytes, secret, random, the same in every replica and after a restart.
	Key []byte

	// Proxy takes identities from headers that a proxy in front sets.
	Proxy *Proxy
	// OIDC has people sign in at an OpenID Connect provider.
	OIDC *OIDC
	// Links takes identities from signed links that were sent to people. They must have been made with the same Key and URL.
	Links *Links

	// Viewers tells who may look at runs, and so decide where the policy lets them. Nil: everybody with an identity. It may
	// be called from several goroutines at once.
	Viewers func(person string, groups []string) bool
	// DecisionsPerMinute bounds the decisions that one person hands in, and one address ten times that. Defaults to 30.
	DecisionsPerMinute int
	// MaxStreams bounds how many pages are followed live at the same time, and one person a sixteenth of that, but at least 8.
	// The others do not update themselves. Defaults to 512.
	MaxStreams int
	// Keep is how long what has been closed can still be looked at. Defaults to 1h.
	Keep time.Duration
}

// The defaults of Options.
const (
	DefaultDecisionsPerMinute = 30
	DefaultMaxStreams         = 512
	DefaultKeep               = time.Hour
)

// A Channel asks people on web pages. It is safe for concurrent use. It starts no goroutines: a page that is followed live
// costs the one of its HTTP request, a run that waits costs none.
type Channel struct {
	options  Options
	base     *url.URL
	path     string // of base, without a slash at its end
	keys     keys
	identity identity
	mux      *http.ServeMux
	cross    *http.CrossOriginProtection
	pages    *template.Template
	assets   assets
	executor atomic.Pointer[executor.Executor]
	people   limiter // decisions by person
	peers    limiter // and by address
	streams  *streams
	shelf    shelf
	epoch    string // makes versions of this process differ from those of the one before
}

var (
	_ approval.Approver = (*Channel)(nil)
	_ approval.Updater  = (*Channel)(nil)
	_ executor.Observer = (*Channel)(nil)
	_ http.Handler      = (*Channel)(nil)
)

// New returns a Channel. It refuses to start without a key and without exactly one way to know people.
func New(o Options) (*Channel, error) {
	base, err := parseBase(o.URL)
	if err != nil {
		return nil, err
	}
	keys, err := newKeys(o.Key)
	if err != nil {
		return nil, err
	}
	if o.DecisionsPerMinute < 0 || o.MaxStreams < 0 || o.Keep < 0 {
		return nil, errors.New("web: Options.DecisionsPerMinute, MaxStreams and Keep cannot be negative")
	}
	if o.DecisionsPerMinute == 0 {
		o.DecisionsPerMinute = DefaultDecisionsPerMinute
	}
	if o.MaxStreams == 0 {
		o.MaxStreams = DefaultMaxStreams
	}
	if o.Keep == 0 {
		o.Keep = DefaultKeep
	}
	o.Key = nil
	c := &Channel{
		options: o, base: base, path: strings.TrimSuffix(base.Path, "/"), keys: keys, cross: http.NewCrossOriginProtection(),
		people: newLimiter(o.DecisionsPerMinute), peers: newLimiter(10 * o.DecisionsPerMinute),
		streams: newStreams(o.MaxStreams), shelf: newShelf(o.Keep), epoch: rand.Text()[:8],
	}
	if err := c.cross.AddTrustedOrigin(base.Scheme + "://" + base.Host); err != nil {
		return nil, fmt.Errorf("web: Options.URL: %w", err)
	}
	ways := 0
	if o.Proxy != nil {
		ways++
		if c.identity, err = newProxied(*o.Proxy); err != nil {
			return nil, err
		}
	}
	if o.OIDC != nil {
		ways++
		if c.identity, err = newSignIn(c, *o.OIDC); err != nil {
			return nil, err
		}
	}
	if o.Links != nil {
		ways++
		if o.Links.base != base.String() || !o.Links.keys.equal(keys) {
			return nil, errors.New("web: Options.Links was made with another URL or key than Options.URL and Options.Key: its links would not be known here")
		}
		c.identity = linked{o.Links}
	}
	if ways != 1 {
		return nil, fmt.Errorf("web: %d of Options.Proxy, Options.OIDC and Options.Links are given: choose exactly one, which says who somebody is", ways)
	}
	if c.assets, err = loadAssets(c.path); err != nil {
		return nil, err
	}
	if c.pages, err = loadPages(); err != nil {
		return nil, err
	}
	c.routes()
	return c, nil
}

// parseBase checks where people reach the pages.
func parseBase(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, fmt.Errorf("web: the URL: %w", err)
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("web: the URL is %q: write where people reach the pages, as https://approvals.example.com, without user, query and fragment", s)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("web: the URL %s is not https: decisions and identities would cross the network in the open; http is for loopback addresses", s)
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("web: the URL is %q: use https", s)
	}
	u.Host = strings.ToLower(u.Host)
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

// Attach tells where decisions go, and whose runs are shown. Until then decisions are refused. It may be called once, at any time.
func (c *Channel) Attach(ex *executor.Executor) { c.executor.Store(ex) }

// URL is the address of the page about a request, for messages that lead there. With Links it shows nothing: use
// [Links.URL].
func (c *Channel) URL(req *approval.Request) string {
	return c.base.String() + "/runs/" + url.PathEscape(req.Run) + "?" + url.Values{"request": {req.Key}}.Encode()
}

// Approve puts a request on its run's page and on the list of what waits. It answers Pending at once.
func (c *Channel) Approve(_ context.Context, req *approval.Request) (*approval.Decision, error) {
	if req == nil || req.Plan == nil || req.Key == "" {
		return nil, errors.New("web: the request has no plan to show, or no key")
	}
	c.shelf.ask(req, time.Now())
	return &approval.Decision{Verdict: approval.Pending}, nil
}

// Update shows people what became of a request.
func (c *Channel) Update(_ context.Context, req *approval.Request, s approval.Standing) error {
	c.shelf.update(req, s, time.Now())
	return nil
}

// Observe collects what happens for the run's page. It does not block.
func (c *Channel) Observe(e executor.Event) { c.shelf.observe(e, time.Now()) }

// ServeHTTP serves the pages. It sets read and write deadlines of its own, of 10s and 60s; [Channel.Server] adds what a
// handler cannot do.
func (c *Channel) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.serve(w, r) }

// Server returns a server of the pages with limits that keep slow and greedy clients from holding it up. The caller sets
// where it listens. Shutdown ends the live streams.
func (c *Channel) Server() *http.Server {
	s := &http.Server{
		Handler: c, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: readTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
	}
	s.RegisterOnShutdown(c.streams.close)
	return s
}
