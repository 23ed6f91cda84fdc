// Package link signs the tokens in links by which people decide, and verifies them.
//
// A token names a question and a person, and no verdict: whoever follows the link still has to say yes or no. It is signed, not
// encrypted, and who has it can decide in that person's name until it expires, so it goes to that person only.
package link

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// What Verify answers, wrapped.
var (
	ErrForged  = errors.New("this link is damaged, or was not made here")
	ErrExpired = errors.New("this link has expired")
)

// KeySize is the least number of bytes in a key.
const KeySize = 32

const (
	purpose  = "remedy approval link v1\x00" // keeps what is signed here from being valid elsewhere
	maxToken = 4096
)

// Claims are what a token says. None may be empty but Step, which is for the plan as a whole.
type Claims struct {
	Run  string `json:"run"`
	Step string `json:"step,omitempty"`
	// Request is the Key of the approval.Request.
	Request string `json:"request"`
	Digest  string `json:"digest"`
	// Person is who may decide with it.
	Person string `json:"person"`
	// Expires is when it is no longer valid, to the second.
	Expires time.Time `json:"-"`
}

// A Signer makes tokens and verifies them. It is safe for concurrent use.
type Signer struct{ key []byte }

// New returns a Signer. The key is a secret of at least KeySize random bytes; there is no default.
func New(key []byte) (*Signer, error) {
	switch {
	case len(key) < KeySize:
		return nil, fmt.Errorf("link: the key has %d bytes: it takes %d random ones at least", len(key), KeySize)
	case bytes.Count(key, key[:1]) == len(key):
		return nil, errors.New("link: the key is one byte over and over: it takes random ones")
	}
	return &Signer{bytes.Clone(key)}, nil
}

// payload is Claims as they are written.
type payload struct {
	Claims
	Until int64 `json:"until"`
}

// Make makes a token of letters, digits, dot, hyphen and underscore.
func (s *Signer) Make(c Claims) (string, error) {
	if c.Run == "" || c.Request == "" || c.Digest == "" || c.Person == "" || c.Expires.IsZero() {
		return "", errors.New("link: the claims are not complete: run, request, digest, person and expiry are needed")
	}
	data, err := json.Marshal(payload{c, c.Expires.Unix()})
	if err != nil {
		return "", fmt.Errorf("link: %w", err)
	}
	token := base64.RawURLEncoding.EncodeToString(data) + "." + base64.RawURLEncoding.EncodeToString(s.sum(data))
	if len(token) > maxToken {
		return "", fmt.Errorf("link: the claims are too long: they make %d bytes, and %d are the most", len(token), maxToken)
	}
	return token, nil
}

// Verify returns what a token says, or ErrForged, or with the claims ErrExpired.
func (s *Signer) Verify(token string, now time.Time) (Claims, error) {
	head, tail, ok := strings.Cut(token, ".")
	if !ok || len(token) > maxToken || strings.ContainsAny(token, "\r\n") { // the decoder would skip line ends
		return Claims{}, ErrForged
	}
	strict := base64.RawURLEncoding.Strict()
	data, err := strict.DecodeString(head)
	sum, err2 := strict.DecodeString(tail)
	if err != nil || err2 != nil || !hmac.Equal(sum, s.sum(data)) {
		return Claims{}, ErrForged
	}
	var p payload
	if err := json.Unmarshal(data, &p); err != nil {
		return Claims{}, ErrForged
	}
	p.Expires = time.Unix(p.Until, 0)
	if !now.Before(p.Expires) {
		return p.Claims, ErrExpired
	}
	return p.Claims, nil
}

func (s *Signer) sum(data []byte) []byte {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(purpose))
	mac.Write(data)
	return mac.Sum(nil)
}
