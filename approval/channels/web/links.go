package web

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/remedykit/remedy/approval"
)

// A Link lets one person answer one request, once. Whoever holds it is taken for that person.
type Link struct {
	Run    string   `json:"r"`
	Key    string   `json:"k"` // of the request
	Digest string   `json:"d"` // of what is asked
	Person string   `json:"p"`
	Groups []string `json:"g,omitempty"`
	// Expires is when it is no good any more, in seconds since 1970.
	Expires int64 `json:"e"`
}

// Links makes links that are sent to people, and knows them again: they are signed with HMAC-SHA-256, so nothing needs to
// be kept. Opening one only shows the page; the decision is a form on it, and uses the link up.
type Links struct {
	base string
	keys keys
}

// longestLink is how long a link is good for whose request never expires.
const longestLink = 72 * time.Hour

// NewLinks returns a maker of links to the pages at a URL, signed with a key: see [Options].
func NewLinks(url string, key []byte) (*Links, error) {
	base, err := parseBase(url)
	if err != nil {
		return nil, err
	}
	keys, err := newKeys(key)
	if err != nil {
		return nil, err
	}
	return &Links{base: base.String(), keys: keys}, nil
}

// URL makes the link for a person who is in some groups, to be sent to that person only. It expires with the request, or
// after 72h when that does not.
func (l *Links) URL(req *approval.Request, person string, groups ...string) (string, error) {
	if person == "" || req == nil || req.Key == "" || req.Digest == "" {
		return "", errors.New("web: a link needs a person, and a request with its key and digest")
	}
	expires := req.ExpiresAt
	if expires.IsZero() {
		expires = time.Now().Add(longestLink)
	}
	token, err := seal(l.keys.links, Link{Run: req.Run, Key: req.Key, Digest: req.Digest, Person: person, Groups: groups, Expires: expires.Unix() + 1})
	if err != nil {
		return "", fmt.Errorf("web: the link: %w", err)
	}
	if len(token) > mostSealed {
		return "", errors.New("web: the link would be too long: give fewer groups, those that policies name")
	}
	return l.base + "/link/" + token, nil
}

// The errors of Links.
var (
	errForged  = errors.New("this link was not made here, or not as it is now")
	errOldLink = errors.New("this link has expired")
)

// open reads the token of a link.
func (l *Links) open(token string, now time.Time) (*Link, error) {
	var link Link
	if !unseal(l.keys.links, token, &link) {
		return nil, errForged
	}
	if now.Unix() >= link.Expires {
		return &link, errOldLink
	}
	return &link, nil
}

// linkID names a link without giving it away.
func linkID(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
