// Package directclient makes HTTP clients that follow no redirect, and classes what they get. What a redirect leads to was chosen by
// the other side: it could be an address inside of the site's network, a login page that answers 200 to everything, or get
// credentials that are not meant for it; and a request that writes would become one that reads.
package directclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/remedykit/remedy/actions"
)

// Of returns a client like c that takes a redirect for the answer. A nil c is one that waits for answers for timeout.
func Of(c *http.Client, timeout time.Duration) *http.Client {
	own := http.Client{Timeout: timeout}
	if c != nil {
		own = *c
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// Failed classes why a request got no answer, and says who wanted one. The address is not told: it may hold a password or be a
// secret itself.
func Failed(who string, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	switch {
	case Untrusted(err):
		return actions.Permanent(fmt.Errorf("%s: the server's certificate is not trusted: have the runner trust who issued it, or have it renewed: %w", who, err))
	case hopeless(err):
		return actions.Permanent(fmt.Errorf("%s: %w", who, err))
	}
	return actions.Transient(fmt.Errorf("%s: %w", who, err))
}

// Untrusted tells whether a certificate is not trusted: it will not be trusted later.
func Untrusted(err error) bool {
	_, refused := errors.AsType[*tls.CertificateVerificationError](err)
	_, issuer := errors.AsType[x509.UnknownAuthorityError](err)
	_, name := errors.AsType[x509.HostnameError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	return refused || issuer || name || invalid
}

// final are the alerts by which a server says that it will not speak with this client: handshake_failure to unknown_ca and
// access_denied, protocol_version, insufficient_security, certificate_required.
var final = map[tls.AlertError]bool{40: true, 42: true, 43: true, 44: true, 45: true, 46: true, 48: true, 49: true, 70: true, 71: true, 116: true}

// hopeless tells whether a request can never be sent as it is.
func hopeless(err error) bool {
	alert, alerted := errors.AsType[tls.AlertError](err)
	return alerted && final[alert] || errors.Is(err, http.ErrSchemeMismatch) ||
		strings.Contains(err.Error(), "unsupported protocol scheme") || strings.Contains(err.Error(), "invalid header field")
}

// Refused is the error of an answer that is no success: who wanted what, the status, what the other side says, and what to do by
// status.
func Refused(who string, resp *http.Response, said string, advice map[int]string) error {
	parts := []string{who, resp.Status}
	if resp.StatusCode < 400 {
		said = "a redirect is not followed: set the URL to where it leads"
	}
	for _, part := range []string{Line(said), advice[resp.StatusCode]} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	err := errors.New(strings.Join(parts, ": "))
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
	default:
		if resp.StatusCode < 500 {
			return actions.Permanent(err)
		}
	}
	return &actions.HandlerError{Transient: true, RetryAfter: RetryAfter(resp.Header), Err: err}
}

// RetryAfter is how long an answer asks to be left alone: seconds, or until a date.
func RetryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		return time.Duration(max(0, seconds)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// maxLine is how much of what the other side says is shown.
const maxLine = 200

// Line is the beginning of what the other side says, in one line without control characters.
func Line(said string) string {
	text := strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return -1
		}
		return r
	}, said)), " ")
	if r := []rune(text); len(r) > maxLine {
		return string(r[:maxLine]) + "…"
	}
	return text
}
