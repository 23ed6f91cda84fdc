// Package directclient makes HTTP clients that follow no redirect. What a redirect leads to was chosen by the other side: it could
// be an address inside of the site's network, a login page that answers 200 to everything, or get credentials that are not
// meant for it; and a request that writes would become one that reads.
package directclient

import (
	"net/http"
	"time"
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
