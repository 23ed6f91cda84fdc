package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"
	"unicode"

	"github.com/remedykit/remedy/approval"
)

// A person is somebody whose identity is known.
type person struct {
	name    string
	groups  []string
	session string // names the session; "" where there is none
	link    *Link  // what they may see and answer; nil: everything
	token   string // of the link
}

// An identity says who sends a request. When it returns false it has answered the request itself, or there is nobody.
type identity interface {
	identify(c *Channel, w http.ResponseWriter, r *http.Request) (person, bool)
}

// known says who sends a request, and answers those that may not look.
func (c *Channel) known(w http.ResponseWriter, r *http.Request) (person, bool) {
	p, ok := c.identity.identify(c, w, r)
	if !ok {
		return p, false
	}
	if c.options.Viewers != nil && !c.options.Viewers(p.name, p.groups) {
		c.tell(w, r, problem{Status: http.StatusForbidden, Title: "You may not look at this",
			Text: "You are known as " + shown(p.name) + ", who is not among those who may see runs here."})
		return p, false
	}
	return p, true
}

// Proxy takes identities from headers that an authenticating proxy sets. The proxy must remove such headers from what it
// is sent.
type Proxy struct {
	// UserHeader holds the person, such as X-Forwarded-User. Required.
	UserHeader string
	// GroupsHeader holds the person's groups, with commas between them. Defaults to none.
	GroupsHeader string
	// Trusted are the addresses that the proxy connects from; whatever comes from elsewhere is refused. Defaults to loopback
	// addresses.
	Trusted []netip.Prefix
}

type proxied struct{ Proxy }

func newProxied(p Proxy) (*proxied, error) {
	if p.UserHeader == "" {
		return nil, errors.New("web: Options.Proxy.UserHeader is empty: name the header in which the proxy says who somebody is, as X-Forwarded-User")
	}
	if len(p.Trusted) == 0 {
		p.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	for _, t := range p.Trusted {
		if !t.IsValid() || t.Bits() == 0 {
			return nil, fmt.Errorf("web: Options.Proxy.Trusted has %s, which trusts everybody: give the addresses of the proxy", t)
		}
	}
	return &proxied{p}, nil
}

func (p *proxied) identify(c *Channel, w http.ResponseWriter, r *http.Request) (person, bool) {
	refuse := func(status int, text string) (person, bool) {
		c.tell(w, r, problem{Status: status, Title: "Nobody knows who you are", Text: text})
		return person{}, false
	}
	if !p.trusts(r) {
		return refuse(http.StatusForbidden, "These pages are reached through their proxy only.")
	}
	names, groups := r.Header.Values(p.UserHeader), []string(nil)
	if len(names) != 1 || strings.TrimSpace(names[0]) == "" {
		return refuse(http.StatusUnauthorized, "The proxy named nobody, or more than one person. Sign in there, and open the page again.")
	}
	if p.GroupsHeader != "" {
		all := r.Header.Values(p.GroupsHeader)
		if len(all) > 1 {
			return refuse(http.StatusUnauthorized, "The proxy sent the groups more than once.")
		}
		for g := range strings.SplitSeq(strings.Join(all, ""), ",") {
			if g = strings.TrimSpace(g); g != "" {
				groups = append(groups, g)
			}
		}
	}
	name := strings.TrimSpace(names[0])
	if !sayable(name) {
		return refuse(http.StatusUnauthorized, "The name that the proxy sent holds characters that no name has.")
	}
	return person{name: name, groups: groups}, true
}

func (p *proxied) trusts(r *http.Request) bool {
	ip, ok := peer(r)
	if !ok {
		return false
	}
	for _, t := range p.Trusted {
		if t.Contains(ip) {
			return true
		}
	}
	return false
}

// mostName is how long the name of a person may be.
const mostName = 256

// sayable tells whether a name can be written down as it is, so that no two look the same and differ in what is hidden.
func sayable(name string) bool {
	if len(name) > mostName {
		return false
	}
	for _, r := range name {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return false
		}
	}
	return true
}

// linked takes identities from links.
type linked struct{ links *Links }

func (l linked) identify(c *Channel, w http.ResponseWriter, r *http.Request) (person, bool) {
	token := r.PathValue("token")
	link, err := l.links.open(token, time.Now())
	switch {
	case errors.Is(err, errOldLink):
		became := "The question's time is up as well, and no answer in time means no."
		v := c.shelf.view(link.Run)
		if e := v.entry(link.Key); e != nil {
			if s := c.standing(e, time.Now()).now; s.State != approval.Open {
				became = closing(s)
			}
		}
		c.tell(w, r, problem{Status: http.StatusGone, Title: "This link has expired",
			Text: became + " If it is asked again, there is another message with another link."})
		return person{}, false
	case err != nil:
		c.tell(w, r, problem{Status: http.StatusForbidden, Title: "This link is not valid",
			Text: "It may have been cut when it was copied. Open it from the message itself."})
		return person{}, false
	}
	return person{name: link.Person, groups: link.Groups, session: linkID(token), link: link, token: token}, true
}
