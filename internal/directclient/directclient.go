// Package directclient makes HTTP clients that follow no redirect. What a redirect leads to was chosen by the other side: it could
// be an address inside of the site's network, a login page that answers 200 to everything, or get credentials that are not
// meant for it; and a request that writes would become one that reads.
package directclient

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

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
// secret itself. A certificate that is not trusted will not be trusted later.
func Failed(who string, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	class := actions.Transient
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
		class = actions.Permanent
	}
	return class(fmt.Errorf("%s: %w", who, err))
}
