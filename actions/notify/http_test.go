package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/notify"
)

// answering is a server that always says the same.
func answering(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

func TestNoErrorRepeatsWhatIsSecret(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		status := http.StatusNotFound
		if r.Header.Get("Authorization") == "Bearer xoxb-s3cret" {
			status = http.StatusUnauthorized
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, "Cannot POST %s for %s:%s, %s", strings.ToUpper(r.RequestURI), user, password, r.Header.Get("Authorization"))
	}
	quoting := answering(t, echo)
	heading := answering(t, func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, r.Header.Get("Authorization"), http.StatusForbidden)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() { // no server of HTTP: it says back what it hears
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn) }()
		}
	}()
	repeating := "http://" + l.Addr().String()
	for _, sender := range []notify.Sender{
		notify.Webhook{URL: quoting + "/services/T00/s3cret"},
		notify.Webhook{URL: quoting + "/?token=s3cret"},
		notify.Webhook{URL: quoting + "/a%2Fs3cret%21"},
		notify.Webhook{URL: strings.Replace(quoting, "//", "//remedy:s3cret@", 1)},
		notify.Webhook{URL: strings.Replace(heading, "//", "//remedy:s3cret@", 1)},
		notify.Slack{URL: quoting + "/services/T00/s3cret"},
		notify.Slack{URL: quoting, Token: "xoxb-s3cret", Channel: "C1"},
		notify.Webhook{URL: repeating + "/services/T00/s3cret"},
	} {
		err := sender.Send(soon(t), &notify.Message{Key: "r/s"})
		require.Error(t, err)
		require.NotContains(t, strings.ToLower(err.Error()), "s3cret")
		require.NotContains(t, err.Error(), "cmVtZWR5OnMzY3JldA", "remedy:s3cret as it is sent")
	}
	err = notify.Webhook{URL: quoting + "/hook"}.Send(t.Context(), &notify.Message{})
	require.ErrorContains(t, err, "404 Not Found: Cannot POST /HOOK", "what is no secret helps")
	require.ErrorContains(t, err, "set URL to what the receiver has now")
}

func TestAReceiverIsLeftAloneAsItAsksButNotForTheWholeStep(t *testing.T) {
	var asks string
	u := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", asks)
		w.WriteHeader(http.StatusTooManyRequests)
	})
	for text, want := range map[string]time.Duration{
		"7": 7 * time.Second, "-7": 0, "soon": 0, "99999999": 30 * time.Second,
		time.Now().Add(12 * time.Hour).UTC().Format(http.TimeFormat):   30 * time.Second,
		time.Now().Add(15 * time.Second).UTC().Format(http.TimeFormat): 15 * time.Second,
	} {
		asks = text
		e, ok := errors.AsType[*actions.HandlerError](notify.Slack{URL: u}.Send(t.Context(), &notify.Message{}))
		require.True(t, ok)
		require.True(t, e.Transient)
		require.InDelta(t, want, e.RetryAfter, float64(2*time.Second), text)
	}
}

func TestSlacksAnswersSayWhetherAnotherTryHelpsAndWhatToDo(t *testing.T) {
	for _, c := range []struct {
		token, answer string
		status        int
		transient     bool
		says          string
	}{
		{"", "invalid_payload", 400, false, "400 Bad Request: invalid_payload"},
		{"", "action_prohibited", 403, false, "action_prohibited: make a new incoming webhook in Slack and set URL to it"},
		{"", "no_service", 404, false, "no_service: make a new incoming webhook in Slack and set URL to it"},
		{"", "channel_is_archived", 410, false, "channel_is_archived: make a new incoming webhook"},
		{"", "rollup_error", 500, true, "rollup_error"},
		{"", "", 429, true, "429 Too Many Requests"},
		{"xoxb", `{"ok":false,"error":"not_in_channel"}`, 200, false, "not_in_channel: invite the bot to the channel"},
		{"xoxb", `{"ok":false,"error":"token_revoked"}`, 200, false, "set Token to one that is valid"},
		{"xoxb", `{"ok":false,"error":"invalid_blocks"}`, 200, false, "invalid_blocks"},
		{"xoxb", `{"ok":false,"error":"service_unavailable"}`, 200, true, "service_unavailable"},
		{"xoxb", `{"ok":false,"error":"\u001b[31m\n`, 200, true, "the answer got lost"},
		{"xoxb", `<html>log in`, 200, false, "set URL to that of chat.postMessage"},
		{"xoxb", "", 503, true, "503 Service Unavailable"},
	} {
		u := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.answer)
		})
		err := notify.Slack{URL: u, Token: c.token, Channel: "C1"}.Send(t.Context(), &notify.Message{Title: "t", Text: "t"})
		require.ErrorContains(t, err, c.says)
		require.Equal(t, c.transient, actions.IsTransient(err), c.says)
	}
}

func TestWhatAModelWritesIsNoMarkupOfSlack(t *testing.T) {
	var got map[string]any
	u := answering(t, func(_ http.ResponseWriter, r *http.Request) { _ = json.NewDecoder(r.Body).Decode(&got) })
	h := handlerOf(t, notify.Options{Default: notify.Slack{URL: u}})
	_, err := h.Execute(t.Context(), request(map[string]any{"message": "<!channel> <@U123> *up* https://evil.example/x <https://evil.example|log in>", "project": "http://evil.example"}))
	require.NoError(t, err)
	all, err := json.Marshal(got)
	require.NoError(t, err)
	require.NotContains(t, string(all), "://")
	require.Equal(t, "&lt;!channel&gt; &lt;@U123&gt; *up* https[:]//evil.example/x &lt;https[:]//evil.example|log in&gt;", got["text"])
	require.Equal(t, false, got["mrkdwn"])
}

func TestAServerThatSaysNothingLeavesTimeForAnotherTry(t *testing.T) {
	var asked atomic.Int64
	hang := make(chan struct{})
	u := answering(t, func(http.ResponseWriter, *http.Request) {
		if asked.Add(1) == 1 {
			<-hang
		}
	})
	defer close(hang)
	for _, client := range []*http.Client{nil, {}} {
		asked.Store(0)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := handlerOf(t, notify.Options{Default: notify.Webhook{URL: u, Client: client}}).Execute(ctx, request(nil))
		require.NoError(t, err)
		require.EqualValues(t, 2, asked.Load())
	}
}

func TestWhenTheTimeIsUpTheReasonIsTold(t *testing.T) {
	var asked atomic.Int64
	hang := make(chan struct{})
	u := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) > 1 {
			<-hang
		}
		w.WriteHeader(http.StatusBadGateway)
	})
	defer close(hang)
	_, err := handlerOf(t, notify.Options{Default: hasty{u}}).Execute(soon(t), request(nil))
	require.EqualError(t, err, "502 Bad Gateway")
	require.True(t, actions.IsTransient(err))
}

// hasty is a sender of a site, which keeps no time of its own.
type hasty struct{ url string }

func (h hasty) Send(ctx context.Context, _ *notify.Message) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return actions.Transient(err)
	}
	defer resp.Body.Close()
	return actions.Transient(errors.New(resp.Status))
}

func TestAReceiverThatIsAwayForHalfAMinuteIsToldInTheEnd(t *testing.T) {
	var back atomic.Bool
	var told atomic.Int64
	u := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		if !back.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		told.Add(1)
	})
	box := newMailbox(t)
	box.answers(func(line string) string {
		if line == "" && !back.Load() {
			return "421 closed for a while"
		}
		return ""
	})
	mail := notify.SMTP{Address: box.address, From: "remedy@example.com", To: []string{"oncall@example.com"}, User: "remedy", Password: "hunter2", TLS: box.config}
	for _, sender := range []notify.Sender{notify.Webhook{URL: u, Client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}, mail} {
		back.Store(false)
		synctest.Test(t, func(t *testing.T) { // only the waits are made short: the servers are outside
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			began := time.Now()
			time.AfterFunc(30*time.Second, func() { back.Store(true) })
			_, err := handlerOf(t, notify.Options{Default: sender}).Execute(ctx, request(nil))
			require.NoError(t, err)
			require.Greater(t, time.Since(began), 30*time.Second)
		})
	}
	require.EqualValues(t, 1, told.Load())
	require.Len(t, box.got, 1)
}
