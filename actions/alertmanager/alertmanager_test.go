package alertmanager_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/alertmanager"
	"github.com/remedykit/remedy/internal/controlplane"
	"github.com/remedykit/remedy/schema"
)

var started = sync.OnceValues(func() (*controlplane.Alertmanager, error) {
	return controlplane.StartAlertmanager(context.Background())
})

// real is the address of a real Alertmanager, shared by the tests.
func real(t *testing.T) string {
	t.Helper()
	a, err := started()
	if errors.Is(err, controlplane.ErrNotBuilt) {
		t.Skip(err)
	}
	require.NoError(t, err)
	return a.URL
}

func TestMain(m *testing.M) {
	defer func() {
		if a, err := started(); err == nil {
			a.Stop()
		}
	}()
	m.Run()
}

func handlersOf(t *testing.T, address string) actions.Handlers {
	t.Helper()
	a, err := alertmanager.New(alertmanager.Options{URL: address})
	require.NoError(t, err)
	return a.Handlers()
}

func request(t *testing.T, action string, parameters map[string]any) *actions.Request {
	t.Helper()
	doc := &schema.Document{Recommendations: []schema.Recommendation{{ID: "s", Action: action, Parameters: parameters}}}
	r := actions.Canonical().Lookup(action).Resolve(doc, 0, "")
	require.Empty(t, doc.Problems)
	return &actions.Request{Task: &actions.Task{Step: "s", Action: action, Parameters: r.Parameters, Target: r.Target}, Run: t.Name(), Attempt: 1}
}

func fire(t *testing.T, address string, ago time.Duration, labels map[string]string) {
	t.Helper()
	data, err := json.Marshal([]any{map[string]any{"labels": labels, "startsAt": time.Now().Add(-ago).UTC(), "endsAt": time.Now().Add(time.Hour).UTC()}})
	require.NoError(t, err)
	resp, err := http.Post(address+"/api/v2/alerts", "application/json", bytes.NewReader(data))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	name := labels["alertname"]
	require.Eventually(t, func() bool {
		var all []struct{ Labels map[string]string }
		get(t, address+"/api/v2/alerts", &all)
		return slices.ContainsFunc(all, func(a struct{ Labels map[string]string }) bool { return a.Labels["alertname"] == name })
	}, 10*time.Second, 10*time.Millisecond)
}

func silences(t *testing.T, address, name string) (active []string) {
	t.Helper()
	resp, err := http.Get(address + "/api/v2/silences?filter=" + url.QueryEscape("alertname="+fmt.Sprintf("%q", name)))
	require.NoError(t, err)
	defer resp.Body.Close()
	var all []struct {
		Comment string
		Status  struct{ State string }
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&all))
	for _, s := range all {
		if s.Status.State == "active" {
			active = append(active, s.Comment)
		}
	}
	return active
}

func TestAlertsThatBeginTogetherBelongTogether(t *testing.T) {
	at := real(t)
	fire(t, at, 10*time.Minute, map[string]string{"alertname": "RedisDown", "severity": "critical", "cluster": "eu", "node": "n1"})
	fire(t, at, 9*time.Minute, map[string]string{"alertname": "ServiceASlow", "severity": "warning", "cluster": "eu", "node": "n1"})
	fire(t, at, 8*time.Minute, map[string]string{"alertname": "ServiceBSlow", "severity": "warning", "cluster": "eu", "node": "n2"})
	fire(t, at, 5*time.Hour, map[string]string{"alertname": "DiskFull", "cluster": "us"})
	h := handlersOf(t, at)["correlate_alerts"]
	r, err := h.Execute(t.Context(), request(t, "correlate_alerts", map[string]any{"alerts": []any{"ServiceBSlow", "RedisDown", "ServiceASlow", "DiskFull", `No"pe`}}))
	require.NoError(t, err)
	require.Regexp(t, `^4 alerts in 2 groups; the likeliest cause is RedisDown, since .*; not firing: No"pe$`, r.Message)
	first := r.Outputs["groups"].([]any)[0].(map[string]any)
	require.Equal(t, map[string]int{"RedisDown": 1, "ServiceASlow": 1, "ServiceBSlow": 1}, first["alerts"])
	require.Equal(t, map[string]string{"cluster": "eu"}, first["sharedLabels"])
	require.Equal(t, 1, first["candidates"].([]any)[0].(map[string]any)["related"], "it shares the node with ServiceASlow")
	_, err = json.Marshal(r.Outputs)
	require.NoError(t, err)
	none, err := h.Execute(t.Context(), request(t, "correlate_alerts", map[string]any{"alerts": []any{"Nothing"}}))
	require.NoError(t, err)
	require.Equal(t, "none of the alerts fires; not firing: Nothing", none.Message)
	dry, err := h.(actions.DryRunner).DryRun(t.Context(), request(t, "correlate_alerts", map[string]any{"alerts": []any{"Nothing"}}))
	require.NoError(t, err)
	require.Equal(t, actions.Verified, dry.Verdict)
}

func TestASilenceIsMadeOnceAndExpired(t *testing.T) {
	at := real(t)
	h := handlersOf(t, at)["silence_alerts"]
	fire(t, at, time.Minute, map[string]string{"alertname": "Noisy"})
	req := request(t, "silence_alerts", map[string]any{"alerts": []any{"Noisy", `Odd"name`}, "duration": "5m", "reason": "root cause\nfound"})
	p, err := h.(actions.DryRunner).DryRun(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, []string{"silence Noisy for 5m0s; 1 fire now", `silence Odd"name for 5m0s; 0 fire now`}, p.Change)
	require.Empty(t, silences(t, at, "Noisy"))
	prober, compensator := h.(actions.Prober), h.(actions.Compensator)
	outcome, err := prober.Probe(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, actions.OutcomeDidNotHappen, outcome)

	_, err = h.Execute(t.Context(), req)
	require.NoError(t, err)
	_, err = h.Execute(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, []string{"root cause found [remedy " + t.Name() + "/s]"}, silences(t, at, "Noisy"), "one, however often")
	require.Len(t, silences(t, at, `Odd"name`), 1)
	outcome, err = prober.Probe(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, actions.OutcomeHappened, outcome)

	other := request(t, "silence_alerts", map[string]any{"alerts": []any{"Noisy"}, "duration": "5m"})
	other.Run = "another"
	_, err = h.Execute(t.Context(), other)
	require.NoError(t, err)
	require.Len(t, silences(t, at, "Noisy"), 2)
	require.NoError(t, compensator.Compensate(t.Context(), req, &actions.Undo{}))
	require.Equal(t, []string{"[remedy another/s]"}, silences(t, at, "Noisy"), "somebody else's stays")
	require.NoError(t, compensator.Compensate(t.Context(), req, &actions.Undo{}), "undoing twice is no error")
	require.NoError(t, compensator.Compensate(t.Context(), other, nil))
}

func TestASilenceThatSomebodyExpandedStays(t *testing.T) {
	at := real(t)
	h := handlersOf(t, at)["silence_alerts"]
	req := request(t, "silence_alerts", map[string]any{"alerts": []any{"Expanded"}, "duration": "5m"})
	data := fmt.Sprintf(`{"matchers":[{"name":"alertname","value":"Expanded","isRegex":false,"isEqual":true},{"name":"team","value":"a","isRegex":false,"isEqual":true}],
		"startsAt":%q,"endsAt":%q,"createdBy":"ann","comment":"mine now [remedy %s/s]"}`, time.Now().UTC().Format(time.RFC3339), time.Now().Add(time.Hour).UTC().Format(time.RFC3339), t.Name())
	resp, err := http.Post(at+"/api/v2/silences", "application/json", strings.NewReader(data))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.ErrorIs(t, h.(actions.Compensator).Compensate(t.Context(), req, &actions.Undo{}), actions.ErrDrift)
	require.Len(t, silences(t, at, "Expanded"), 1)
}

func TestALostAnswerIsLookedInto(t *testing.T) {
	at := real(t)
	u, err := url.Parse(at)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(u)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			proxy.ServeHTTP(w, r)
			return
		}
		proxy.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler) // the effect happened; the answer gets lost
	}))
	defer s.Close()
	h := handlersOf(t, s.URL)["silence_alerts"]
	_, err = h.Execute(t.Context(), request(t, "silence_alerts", map[string]any{"alerts": []any{"Lost"}, "duration": "5m"}))
	require.NoError(t, err)
	require.Len(t, silences(t, at, "Lost"), 1)
}

// A door stands before an Alertmanager and answers for it while it is shut.
type door struct {
	shut atomic.Bool
	next http.Handler
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.shut.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	d.next.ServeHTTP(w, r)
}

type conductor func() error

func (c conductor) Begin(context.Context, *actions.Request, *actions.Undo) error { return c() }

func TestAnOutageInTheMiddleFailsNothing(t *testing.T) {
	at := real(t)
	u, err := url.Parse(at)
	require.NoError(t, err)
	d := &door{next: httputil.NewSingleHostReverseProxy(u)}
	s := httptest.NewServer(d)
	defer s.Close()
	h := handlersOf(t, s.URL)["silence_alerts"]
	req := request(t, "silence_alerts", map[string]any{"alerts": []any{"Outage"}, "duration": "5m"})
	outage := func() error {
		d.shut.Store(true)
		time.AfterFunc(2*time.Second, func() { d.shut.Store(false) })
		return nil
	}
	req.Conductor = conductor(outage)
	_, err = h.Execute(t.Context(), req)
	require.NoError(t, err)
	require.Len(t, silences(t, at, "Outage"), 1)
	require.NoError(t, outage())
	require.NoError(t, h.(actions.Compensator).Compensate(t.Context(), req, &actions.Undo{}))
	require.Empty(t, silences(t, at, "Outage"))
	outcome, err := h.(actions.Prober).Probe(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, actions.OutcomeHappened, outcome, "it was made, and has expired since")
}

func TestASilenceThatSomebodyProlongedStays(t *testing.T) {
	at := real(t)
	h := handlersOf(t, at)["silence_alerts"]
	req := request(t, "silence_alerts", map[string]any{"alerts": []any{"Prolonged"}, "duration": "5m"})
	var undo *actions.Undo
	req.Conductor = keeper{&undo}
	r, err := h.Execute(t.Context(), req)
	require.NoError(t, err)
	data, err := json.Marshal(undo) // as the journal keeps it
	require.NoError(t, err)
	undo = &actions.Undo{}
	require.NoError(t, json.Unmarshal(data, undo))
	body := fmt.Sprintf(`{"id":%q,"matchers":[{"name":"alertname","value":"Prolonged","isRegex":false,"isEqual":true}],"startsAt":%q,"endsAt":%q,"createdBy":"remedy","comment":"[remedy %s/s]"}`,
		r.Outputs["silences"].(map[string]any)["Prolonged"], time.Now().UTC().Format(time.RFC3339), time.Now().Add(2*time.Hour).UTC().Format(time.RFC3339), t.Name())
	resp, err := http.Post(at+"/api/v2/silences", "application/json", strings.NewReader(body))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.ErrorIs(t, h.(actions.Compensator).Compensate(t.Context(), req, undo), actions.ErrDrift)
	require.Len(t, silences(t, at, "Prolonged"), 1)
}

type keeper struct{ undo **actions.Undo }

func (k keeper) Begin(_ context.Context, _ *actions.Request, undo *actions.Undo) error {
	*k.undo = undo
	return nil
}

func TestARedirectIsNoAnswer(t *testing.T) {
	var asked atomic.Int64
	login := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); fmt.Fprint(w, `{}`) }))
	defer login.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			fmt.Fprintf(w, `[{"id":"x","matchers":[{"name":"alertname","value":"A","isRegex":false,"isEqual":true}],"createdBy":"remedy","comment":"[remedy %s/s]","status":{"state":"active"}}]`, t.Name())
			return
		}
		http.Redirect(w, r, login.URL, http.StatusFound)
	}))
	defer s.Close()
	h := handlersOf(t, s.URL)["silence_alerts"]
	err := h.(actions.Compensator).Compensate(t.Context(), request(t, "silence_alerts", map[string]any{"alerts": []any{"A"}, "duration": "5m"}), &actions.Undo{})
	require.ErrorContains(t, err, "302 Found: a redirect is not followed")
	require.False(t, actions.IsTransient(err))
	require.Zero(t, asked.Load())
}

type refusing struct{}

func (refusing) Begin(context.Context, *actions.Request, *actions.Undo) error {
	return errors.New("no")
}

func TestWhatMayNotBeginSilencesNothing(t *testing.T) {
	at := real(t)
	h := handlersOf(t, at)["silence_alerts"]
	req := request(t, "silence_alerts", map[string]any{"alerts": []any{"Held"}, "duration": "5m"})
	req.Conductor = refusing{}
	_, err := h.Execute(t.Context(), req)
	require.EqualError(t, err, "no")
	require.Empty(t, silences(t, at, "Held"))
	for _, names := range [][]string{nil, {" "}} {
		req.Parameters = actions.NewParameters(map[string]any{"alerts": names})
		_, err = h.Execute(t.Context(), req)
		require.ErrorContains(t, err, "would silence everything")
	}
}

func TestErrorsAreClassed(t *testing.T) {
	status, body := http.StatusTooManyRequests, "slow down\n<b>please</b>"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	h := handlersOf(t, s.URL)["correlate_alerts"]
	req := request(t, "correlate_alerts", map[string]any{"alerts": []any{"A"}})
	soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := h.Execute(soon, req)
	e, ok := errors.AsType[*actions.HandlerError](err)
	require.True(t, ok)
	require.True(t, e.Transient)
	require.Equal(t, 7*time.Second, e.RetryAfter)
	require.EqualError(t, err, "alertmanager: GET alerts: 429 Too Many Requests: slow down <b>please</b>")
	status, body = http.StatusBadRequest, strings.Repeat("x", 5000)
	_, err = h.Execute(t.Context(), req)
	require.False(t, actions.IsTransient(err))
	require.Less(t, len(err.Error()), 300)
	status, body = http.StatusOK, "<html>"
	_, err = h.Execute(t.Context(), req)
	require.ErrorContains(t, err, "is no JSON of the API v2")
	s.Close()
	secret := strings.Replace(s.URL, "http://", "http://user:hunter2@", 1)
	_, err = handlersOf(t, secret)["correlate_alerts"].Execute(soon, req)
	require.True(t, actions.IsTransient(err))
	require.NotContains(t, err.Error(), "hunter2")
	began := time.Now()
	_, err = h.(actions.DryRunner).DryRun(t.Context(), req)
	require.True(t, actions.IsTransient(err), "a dry run does not wait for ever")
	require.Less(t, time.Since(began), 10*time.Second)
	for _, bad := range []string{"", "alertmanager:9093", "ftp://a"} {
		_, err := alertmanager.New(alertmanager.Options{URL: bad})
		require.ErrorContains(t, err, "is an http or https address", bad)
	}
}
