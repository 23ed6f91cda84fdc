package web

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// OIDC has people sign in at an OpenID Connect provider, by the authorization code flow with PKCE. The redirect URI to
// register there is Options.URL and "/oidc/callback".
type OIDC struct {
	// Issuer is the provider's URL. Required; https, or http on a loopback address.
	Issuer string
	// ClientID and ClientSecret are what the provider knows this client by. The secret is empty for a public client.
	ClientID, ClientSecret string
	// PersonClaim is the claim of the ID token that says who somebody is, in the words of the policy. It must be one that
	// people cannot choose themselves. Defaults to "email", which then must be a verified one.
	PersonClaim string
	// GroupsClaim is the claim that lists groups. Defaults to "groups".
	GroupsClaim string
	// Groups are those that matter; others are left out of the session, whose cookie has little room. Empty: all are kept.
	Groups []string
	// Scopes are asked for beside "openid". Defaults to "email" and "profile".
	Scopes []string
	// Session is how long somebody stays signed in. Defaults to 1h.
	Session time.Duration
	// Client reaches the provider. Defaults to one that waits for 10s.
	Client *http.Client
}

const (
	callbackPath = "/oidc/callback"
	loginFor     = 10 * time.Minute
)

// signIn knows people by a cookie that they get for an ID token.
type signIn struct {
	channel *Channel
	options OIDC
	host    string // prefix of the cookies' names, which binds them to this host
	secure  bool

	mu       sync.Mutex // held while the provider is found
	provider *oidc.Provider
}

// A session is what the cookie of somebody who has signed in says.
type session struct {
	ID      string   `json:"i"`
	Person  string   `json:"p"`
	Groups  []string `json:"g,omitempty"`
	Expires int64    `json:"e"`
}

// A login is what the cookie of somebody who is about to sign in says.
type login struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
	To       string `json:"t"` // path to go on with
	Expires  int64  `json:"e"`
}

func newSignIn(c *Channel, o OIDC) (*signIn, error) {
	issuer, err := url.Parse(o.Issuer)
	switch {
	case err != nil || issuer.Host == "":
		return nil, fmt.Errorf("web: Options.OIDC.Issuer is %q: give the provider's URL", o.Issuer)
	case issuer.Scheme != "https" && (issuer.Scheme != "http" || !loopback(issuer.Hostname())):
		return nil, fmt.Errorf("web: Options.OIDC.Issuer %s is not https: anybody on the way could say who people are", o.Issuer)
	case o.ClientID == "":
		return nil, errors.New("web: Options.OIDC.ClientID is empty: register these pages at the provider")
	case o.Session < 0:
		return nil, errors.New("web: Options.OIDC.Session cannot be negative")
	}
	if o.PersonClaim == "" {
		o.PersonClaim = "email"
	}
	if o.GroupsClaim == "" {
		o.GroupsClaim = "groups"
	}
	if len(o.Scopes) == 0 {
		o.Scopes = []string{"email", "profile"}
	}
	if o.Session == 0 {
		o.Session = time.Hour
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: 10 * time.Second}
	}
	s := &signIn{channel: c, options: o, secure: c.base.Scheme == "https"}
	if s.secure {
		s.host = "__Host-"
	}
	return s, nil
}

// identify knows people by their session. Others are sent to sign in, if they look at a page.
func (s *signIn) identify(c *Channel, w http.ResponseWriter, r *http.Request) (person, bool) {
	now := time.Now()
	if cookie, err := r.Cookie(s.host + "remedy"); err == nil {
		var known session
		if unseal(c.keys.sessions, cookie.Value, &known) && now.Unix() < known.Expires {
			return person{name: known.Person, groups: known.Groups, session: known.ID}, true
		}
	}
	looks := r.Method == http.MethodGet && !strings.HasSuffix(r.URL.Path, "/live") && !strings.HasSuffix(r.URL.Path, ".svg")
	switch {
	case !looks:
		c.tell(w, r, problem{Status: http.StatusUnauthorized, Title: "You are not signed in any more",
			Text: "Nothing was decided. Open the page again to sign in.", Back: c.path + strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, c.path), "/decision")})
	case r.Header.Get("Sec-Fetch-Site") == "cross-site" && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.URL.Query().Get("again") == "":
		// Who comes from another site's link brings no strict cookie, but does when this page leads to itself.
		to := *r.URL
		q := to.Query()
		q.Set("again", "1")
		to.RawQuery = q.Encode()
		c.onward(w, to.RequestURI())
	default:
		s.begin(w, r, now)
	}
	return person{}, false
}

// find returns the provider, which is asked for once it is needed, and again when it did not answer.
func (s *signIn) find() (*oidc.Provider, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.provider == nil {
		// The provider keeps the context for the keys that it fetches later.
		p, err := oidc.NewProvider(oidc.ClientContext(context.Background(), s.options.Client), s.options.Issuer)
		if err != nil {
			return nil, err
		}
		s.provider = p
	}
	return s.provider, nil
}

func (s *signIn) config(p *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{
		ClientID: s.options.ClientID, ClientSecret: s.options.ClientSecret, Endpoint: p.Endpoint(),
		RedirectURL: s.channel.base.String() + callbackPath, Scopes: append([]string{oidc.ScopeOpenID}, s.options.Scopes...),
	}
}

func (s *signIn) cookie(name, value string, same http.SameSite, lasts time.Duration) *http.Cookie {
	return &http.Cookie{
		Name: s.host + name, Value: value, Path: "/", HttpOnly: true, Secure: s.secure, SameSite: same, MaxAge: int(lasts.Seconds()),
	}
}

// begin sends somebody to the provider.
func (s *signIn) begin(w http.ResponseWriter, r *http.Request, now time.Time) {
	p, err := s.find()
	if err != nil {
		s.channel.tell(w, r, unreachable)
		return
	}
	l := login{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), To: r.URL.RequestURI(), Expires: now.Add(loginFor).Unix()}
	value, err := seal(s.channel.keys.logins, l)
	if err != nil || len(value) > mostSealed {
		s.channel.tell(w, r, problem{Status: http.StatusRequestURITooLong, Title: "The address is too long", Text: "Open the link in the message again."})
		return
	}
	// The provider leads back from its own site, so this cookie cannot be a strict one.
	http.SetCookie(w, s.cookie("remedy-login", value, http.SameSiteLaxMode, loginFor))
	http.Redirect(w, r, s.config(p).AuthCodeURL(l.State, oidc.Nonce(l.Nonce), oauth2.S256ChallengeOption(l.Verifier)), http.StatusSeeOther)
}

var unreachable = problem{Status: http.StatusBadGateway, Title: "Nobody can sign in now", Text: "The identity provider does not answer. Nothing was decided. Try again soon."}

// callback takes what the provider says about somebody who has signed in.
func (s *signIn) callback(w http.ResponseWriter, r *http.Request) {
	c, now := s.channel, time.Now()
	refuse := func(text string) {
		c.tell(w, r, problem{Status: http.StatusForbidden, Title: "You could not be signed in", Text: text, Back: c.path + "/"})
	}
	var l login
	cookie, err := r.Cookie(s.host + "remedy-login")
	if err != nil || !unseal(c.keys.logins, cookie.Value, &l) || now.Unix() >= l.Expires {
		refuse("It took too long, or it was begun in another window. Open the page again.")
		return
	}
	http.SetCookie(w, s.cookie("remedy-login", "", http.SameSiteLaxMode, -time.Second))
	q := r.URL.Query()
	switch {
	case subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(l.State)) != 1:
		refuse("This answer belongs to another sign-in. Open the page again.")
		return
	case q.Get("error") != "" || q.Get("code") == "":
		refuse("The identity provider refused it.")
		return
	}
	p, err := s.find()
	if err != nil {
		c.tell(w, r, unreachable)
		return
	}
	token, err := s.config(p).Exchange(oidc.ClientContext(r.Context(), s.options.Client), q.Get("code"), oauth2.VerifierOption(l.Verifier))
	if err != nil {
		refuse("The identity provider did not take its own code. Open the page again.")
		return
	}
	known, why := s.verify(r.Context(), p, token, l.Nonce)
	if why != "" {
		refuse(why)
		return
	}
	known.ID, known.Expires = rand.Text(), now.Add(s.options.Session).Unix()
	value, err := seal(c.keys.sessions, known)
	if err != nil || len(value) > mostSealed {
		refuse("The groups that the provider lists are too many for a cookie: have these pages keep only those that policies name.")
		return
	}
	http.SetCookie(w, s.cookie("remedy", value, http.SameSiteStrictMode, s.options.Session))
	c.onward(w, l.To) // a redirect would still count as the provider's, and bring no strict cookie
}

// verify reads who an ID token is about, or says why not.
func (s *signIn) verify(ctx context.Context, p *oidc.Provider, token *oauth2.Token, nonce string) (known session, why string) {
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return known, "The identity provider sent no ID token."
	}
	id, err := p.Verifier(&oidc.Config{ClientID: s.options.ClientID}).Verify(oidc.ClientContext(ctx, s.options.Client), raw)
	if err != nil {
		return known, "The ID token is not one for these pages, or is not valid now."
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce)) != 1 {
		return known, "The ID token belongs to another sign-in."
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return known, "The ID token cannot be read."
	}
	name, _ := claims[s.options.PersonClaim].(string)
	name = strings.TrimSpace(name)
	if verified, _ := claims["email_verified"].(bool); s.options.PersonClaim == "email" && !verified {
		return known, "The identity provider has not verified your e-mail address."
	}
	if name == "" || !sayable(name) {
		return known, "The ID token does not say who you are: it needs the claim " + s.options.PersonClaim + "."
	}
	known.Person = name
	all, _ := claims[s.options.GroupsClaim].([]any)
	for _, g := range all {
		if group, ok := g.(string); ok && (len(s.options.Groups) == 0 || slices.Contains(s.options.Groups, group)) {
			known.Groups = append(known.Groups, group)
		}
	}
	return known, ""
}
