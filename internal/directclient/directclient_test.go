package directclient_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/directclient"
)

func answer(status int, retryAfter string) *http.Response {
	r := httptest.NewRecorder()
	r.Header().Set("Retry-After", retryAfter)
	r.WriteHeader(status)
	return r.Result()
}

func TestAStatusSaysWhetherAnotherTryCouldHelp(t *testing.T) {
	for status, transient := range map[int]bool{302: false, 400: false, 401: false, 403: false, 404: false, 408: true, 409: false, 410: false, 422: false, 425: true, 429: true, 500: true, 502: true, 503: true, 504: true} {
		err := directclient.Refused("webhook", answer(status, ""), "", nil)
		require.Equal(t, transient, actions.IsTransient(err), status)
	}
	err := directclient.Refused("webhook", answer(http.StatusUnauthorized, ""), "who\n are\x1b you", map[int]string{http.StatusUnauthorized: "set the token"})
	require.EqualError(t, err, "webhook: 401 Unauthorized: who are you: set the token")
	require.Less(t, len(directclient.Line(strings.Repeat("long ", 10_000))), 300)
}

func TestTheOtherSideIsLeftAloneAsLongAsItAsksFor(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "99999999999999": 0, time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat): 0} {
		e, ok := errors.AsType[*actions.HandlerError](directclient.Refused("x", answer(http.StatusTooManyRequests, text), "", nil))
		require.True(t, ok)
		require.Equal(t, want, e.RetryAfter, text)
	}
	e, ok := errors.AsType[*actions.HandlerError](directclient.Refused("x", answer(503, time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)), "", nil))
	require.True(t, ok)
	require.InDelta(t, time.Minute, e.RetryAfter, float64(2*time.Second), "until a date")
}

func TestWhatCanNeverBeSentIsNotTriedAgain(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	failed := func(address, token string) error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", token)
		_, err = directclient.Of(nil, time.Second).Do(req) //nolint:bodyclose // there is none
		require.Error(t, err)
		return directclient.Failed("webhook", err)
	}
	err := failed(secure.URL+"/s3cret", "")
	require.ErrorContains(t, err, "webhook: the server's certificate is not trusted: have the runner trust who issued it")
	require.NotContains(t, err.Error(), "s3cret")
	require.False(t, actions.IsTransient(err))
	for _, err := range []error{failed(strings.Replace(plain.URL, "http:", "https:", 1), ""), failed("gopher://x", ""), failed(plain.URL, "Bearer s3cret\n")} {
		require.False(t, actions.IsTransient(err), err)
		require.NotContains(t, err.Error(), "s3cret")
	}
	plain.Close()
	require.True(t, actions.IsTransient(failed(plain.URL, "")))
}
