package kube_test

import (
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
)

// How long a controller may take to notice something, and how often a test looks.
const (
	eventually = 10 * time.Second
	tick       = 20 * time.Millisecond
)

// counting counts the watches that a client opens.
func counting(config *rest.Config) (*rest.Config, *atomic.Int64) {
	var watches atomic.Int64
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Query().Get("watch") != "" {
				watches.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	return config, &watches
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
