package alertmanager_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/alertmanager"
)

// A made is a silence as an Alertmanager tells of it.
type made struct {
	ID        string           `json:"id"`
	Matchers  []map[string]any `json:"matchers"`
	StartsAt  time.Time        `json:"startsAt"`
	EndsAt    time.Time        `json:"endsAt"`
	CreatedBy string           `json:"createdBy"`
	Comment   string           `json:"comment"`
	Status    *struct {
		State string `json:"state"`
	} `json:"status,omitempty"`
}

// active are the silences of an Alertmanager that have a name in a matcher and have not expired.
func active(t *testing.T, at, name string) (all []made) {
	t.Helper()
	get(t, at+"/api/v2/silences", &all)
	kept := all[:0]
	for _, s := range all {
		if s.Status.State == "expired" {
			continue
		}
		for _, m := range s.Matchers {
			if m["value"] == name {
				kept = append(kept, s)
				break
			}
		}
	}
	return kept
}

func get(t *testing.T, address string, into any) {
	t.Helper()
	resp, err := http.Get(address)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.NoError(t, json.NewDecoder(resp.Body).Decode(into))
}

// put makes a silence, or changes one that has an id, and tells what the id is now.
func put(t *testing.T, at string, s made) string {
	t.Helper()
	s.Status = nil
	data, err := json.Marshal(s)
	require.NoError(t, err)
	resp, err := http.Post(at+"/api/v2/silences", "application/json", strings.NewReader(string(data)))
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	var answer struct{ SilenceID string }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	return answer.SilenceID
}

func probe(t *testing.T, h actions.ActionHandler, req *actions.Request) actions.Outcome {
	t.Helper()
	o, err := h.(actions.Prober).Probe(t.Context(), req)
	require.NoError(t, err)
	return o
}

// begun makes the silences of a step, and returns what the journal keeps to undo them.
func begun(t *testing.T, h actions.ActionHandler, req *actions.Request) *actions.Undo {
	t.Helper()
	var undo *actions.Undo
	req.Conductor = keeper{&undo}
	_, err := h.Execute(t.Context(), req)
	require.NoError(t, err)
	data, err := json.Marshal(undo)
	require.NoError(t, err)
	undo = &actions.Undo{}
	require.NoError(t, json.Unmarshal(data, undo))
	return undo
}

func TestANameIsSilencedToTheLetter(t *testing.T) {
	at := real(t)
	for _, name := range []string{
		"Plain", "a.*b", "x|y", `{job="a"}`, "one,two", `"quoted"`, `back\slash`, `ends\`, "Überlast", "no\u00a0break", "😀", `=~".*"`, "$(id)", "'; drop", "a b", " lead", "tab\tbed", "two\nlines", "a/../b", "%2e%2e", "[remedy x/y]",
	} {
		t.Run(name, func(t *testing.T) {
			hs := handlersOf(t, at)
			h := hs["silence_alerts"]
			fire(t, at, time.Minute, map[string]string{"alertname": name})
			fire(t, at, time.Minute, map[string]string{"alertname": name + "-not"})
			req := request(t, "silence_alerts", map[string]any{"alerts": []any{"Plain"}, "duration": "5m"})
			req.Parameters = actions.NewParameters(map[string]any{"alerts": []string{name, name}, "duration": 5 * time.Minute, "reason": "name it"})
			p, err := h.(actions.DryRunner).DryRun(t.Context(), req)
			require.NoError(t, err)
			require.Equal(t, []string{"silence " + name + " for 5m0s; 1 fire now"}, p.Change)
			require.Empty(t, active(t, at, name), "a dry run silences nothing")
			undo := begun(t, h, req)
			for range 2 {
				_, err = h.Execute(t.Context(), req)
				require.NoError(t, err)
			}
			require.Len(t, active(t, at, name), 1, "one, however often it is named and asked for")
			require.Equal(t, "active", active(t, at, name)[0].Status.State)
			require.Equal(t, actions.OutcomeHappened, probe(t, h, req))
			silent := map[string]bool{}
			require.Eventually(t, func() bool {
				var all []struct {
					Labels map[string]string
					Status struct{ State string }
				}
				get(t, at+"/api/v2/alerts", &all)
				for _, a := range all {
					silent[a.Labels["alertname"]] = a.Status.State == "suppressed"
				}
				return silent[name]
			}, 10*time.Second, 10*time.Millisecond)
			require.False(t, silent[name+"-not"], "and nothing else")
			r, err := hs["correlate_alerts"].Execute(t.Context(), req)
			require.NoError(t, err)
			require.Equal(t, 1, r.Outputs["alerts"])
			require.NoError(t, h.(actions.Compensator).Compensate(t.Context(), req, undo))
			require.Empty(t, active(t, at, name))
		})
	}
}

func TestWhatSomebodyMadeOfASilenceStays(t *testing.T) {
	at := real(t)
	h := handlersOf(t, at)["silence_alerts"]
	for what, change := range map[string]func(s *made){
		"its comment":              func(s *made) { s.Comment = "ann: until the fix is out" },
		"its comment, but the key": func(s *made) { s.Comment = "ann: until the fix is out " + s.Comment },
		"its end":                  func(s *made) { s.EndsAt = s.EndsAt.Add(time.Hour) },
		"its author":               func(s *made) { s.CreatedBy = "ann" },
		"another matcher": func(s *made) {
			s.Matchers = append(s.Matchers, map[string]any{"name": "team", "value": "a", "isRegex": false, "isEqual": true})
		},
		"a pattern": func(s *made) {
			s.Matchers[0]["isRegex"], s.Matchers[0]["value"] = true, s.Matchers[0]["value"].(string)+"|Other"
		},
		"the opposite":  func(s *made) { s.Matchers[0]["isEqual"] = false },
		"a later start": func(s *made) { s.StartsAt = s.StartsAt.Add(time.Minute) },
	} {
		t.Run(what, func(t *testing.T) {
			req := request(t, "silence_alerts", map[string]any{"alerts": []any{"Changed " + what, "Left " + what}, "duration": "5m"})
			undo := begun(t, h, req)
			s := active(t, at, "Changed "+what)[0]
			change(&s)
			id := put(t, at, s)
			err := h.(actions.Compensator).Compensate(t.Context(), req, undo)
			require.ErrorIs(t, err, actions.ErrDrift)
			require.ErrorContains(t, err, id)
			var now made
			get(t, at+"/api/v2/silence/"+id, &now)
			require.NotEqual(t, "expired", now.Status.State)
			require.Empty(t, active(t, at, "Left "+what), "what nobody touched has expired all the same")
		})
	}
	req := request(t, "silence_alerts", map[string]any{"alerts": []any{"By hand"}, "duration": "5m"})
	undo := begun(t, h, req)
	s := active(t, at, "By hand")[0]
	r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, at+"/api/v2/silence/"+s.ID, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.NoError(t, h.(actions.Compensator).Compensate(t.Context(), req, undo), "what somebody has ended is undone")
}

func TestAProberAsksAfterEverySilence(t *testing.T) {
	at := real(t)
	u, err := url.Parse(at)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(u)
	var left atomic.Int64
	var before bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || left.Add(-1) > 0 {
			proxy.ServeHTTP(w, r)
			return
		}
		if !before {
			proxy.ServeHTTP(httptest.NewRecorder(), r)
		}
		w.WriteHeader(http.StatusForbidden) // as if the process died there: it learns nothing, and asks no more
	}))
	defer s.Close()
	h, crashing := handlersOf(t, at)["silence_alerts"], handlersOf(t, s.URL)["silence_alerts"]
	for name, c := range map[string]struct {
		dies   int64
		before bool
		want   actions.Outcome
	}{
		"before the first": {1, true, actions.OutcomeDidNotHappen},
		"after the first":  {1, false, actions.OutcomeUnfinished},
		"before the last":  {2, true, actions.OutcomeUnfinished},
		"after the last":   {2, false, actions.OutcomeHappened},
	} {
		t.Run(name, func(t *testing.T) {
			req := request(t, "silence_alerts", map[string]any{"alerts": []any{"P1 " + name, "P2 " + name}, "duration": "5m"})
			var undo *actions.Undo
			req.Conductor = keeper{&undo}
			left.Store(c.dies)
			before = c.before
			_, err := crashing.Execute(t.Context(), req)
			require.Error(t, err)
			require.NotNil(t, undo)
			require.Equal(t, c.want, probe(t, h, req))
			again := begun(t, h, req)
			require.Len(t, active(t, at, "P1 "+name), 1)
			require.Len(t, active(t, at, "P2 "+name), 1)
			require.Equal(t, actions.OutcomeHappened, probe(t, h, req))
			require.NoError(t, h.(actions.Compensator).Compensate(t.Context(), req, again))
			require.Empty(t, append(active(t, at, "P1 "+name), active(t, at, "P2 "+name)...))
			require.NoError(t, h.(actions.Compensator).Compensate(t.Context(), req, again), "undoing twice is no error")
		})
	}
}

func TestALostAnswerToAnUndoIsLookedInto(t *testing.T) {
	at := real(t)
	u, err := url.Parse(at)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(u)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	defer s.Close()
	h := handlersOf(t, s.URL)["silence_alerts"]
	req := request(t, "silence_alerts", map[string]any{"alerts": []any{"Undone"}, "duration": "5m"})
	undo := begun(t, h, req)
	began := time.Now()
	require.NoError(t, h.(actions.Compensator).Compensate(t.Context(), req, undo))
	require.Less(t, time.Since(began), 5*time.Second)
	require.Empty(t, active(t, at, "Undone"))
}

func TestHalfAMinuteWithoutAlertmanagerFailsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	at := real(t)
	u, err := url.Parse(at)
	require.NoError(t, err)
	t.Parallel()
	const outage = 30 * time.Second
	for _, name := range []string{"silence", "undo"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			s := &http.Server{Handler: httputil.NewSingleHostReverseProxy(u)}
			go s.Serve(l)
			address, mended := l.Addr().String(), make(chan error, 1)
			away := func() {
				s.Close() // with its connections
				time.AfterFunc(outage, func() {
					l, err := net.Listen("tcp", address)
					if err == nil {
						again := &http.Server{Handler: s.Handler}
						t.Cleanup(func() { again.Close() })
						go again.Serve(l)
					}
					mended <- err
				})
			}
			ctx, cancel := context.WithTimeout(t.Context(), actions.Canonical().Lookup("silence_alerts").Timeout)
			defer cancel()
			h := handlersOf(t, "http://"+address)["silence_alerts"]
			req := request(t, "silence_alerts", map[string]any{"alerts": []any{"Away 1 " + name, "Away 2 " + name}, "duration": "5m"})
			began := time.Now()
			if name == "undo" {
				undo := begun(t, h, req)
				away()
				require.NoError(t, h.(actions.Compensator).Compensate(ctx, req, undo))
				require.Empty(t, append(active(t, at, "Away 1 undo"), active(t, at, "Away 2 undo")...))
			} else {
				req.Conductor = conductor(func() error { away(); return nil })
				_, err := h.Execute(ctx, req)
				require.NoError(t, err)
				require.Len(t, active(t, at, "Away 1 silence"), 1)
				require.Len(t, active(t, at, "Away 2 silence"), 1)
			}
			require.NoError(t, <-mended)
			require.GreaterOrEqual(t, time.Since(began), outage)
		})
	}
}

func TestARefusalSaysWhatToDo(t *testing.T) {
	status := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v2/silences" && r.Method == http.MethodGet {
			fmt.Fprint(w, "[]")
			return
		}
		w.WriteHeader(status)
		fmt.Fprint(w, `"it says why"`)
	}))
	defer s.Close()
	hs := handlersOf(t, strings.Replace(s.URL, "http://", "http://remedy:hunter2@", 1))
	for code, want := range map[int]string{
		400: "400 Bad Request: \"it says why\"", 401: `401 Unauthorized: "it says why": have Options.Client log in`, 403: "give its user the right to read alerts and to write silences",
		404: "set Options.URL to where an Alertmanager with the API v2 serves", 409: "409 Conflict", 422: "422 Unprocessable Entity", 307: "a redirect is not followed",
	} {
		status = code
		for action, parameters := range map[string]map[string]any{"silence_alerts": {"alerts": []any{"A"}, "duration": "5m"}, "correlate_alerts": {"alerts": []any{"A"}}} {
			_, err := hs[action].Execute(t.Context(), request(t, action, parameters))
			require.ErrorContains(t, err, want, action)
			require.False(t, actions.IsTransient(err), "%s %d", action, code)
			require.NotContains(t, err.Error(), "hunter2")
		}
	}
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	for action, parameters := range map[string]map[string]any{"silence_alerts": {"alerts": []any{"A"}, "duration": "5m"}, "correlate_alerts": {"alerts": []any{"A"}}} {
		_, err := handlersOf(t, secure.URL)[action].Execute(t.Context(), request(t, action, parameters))
		require.ErrorContains(t, err, "the server's certificate is not trusted: have the runner trust who issued it", action)
		require.False(t, actions.IsTransient(err))
	}
}

func TestCredentialsStayWithTheAlertmanager(t *testing.T) {
	var got atomic.Value
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.Store(r.Header.Get("Authorization"))
		fmt.Fprint(w, "[]")
	}))
	defer elsewhere.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer s.Close()
	a, err := alertmanager.New(alertmanager.Options{URL: s.URL, Client: &http.Client{Transport: bearer{}}})
	require.NoError(t, err)
	_, err = a.Handlers()["silence_alerts"].Execute(t.Context(), request(t, "silence_alerts", map[string]any{"alerts": []any{"A"}, "duration": "5m"}))
	require.ErrorContains(t, err, "a redirect is not followed")
	require.Nil(t, got.Load())
	require.NotContains(t, err.Error(), "t0ken")
}

// bearer adds credentials to every request, wherever it goes.
type bearer struct{}

func (bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer t0ken")
	return http.DefaultTransport.RoundTrip(r)
}

func TestNoAlertIsNeverEveryAlert(t *testing.T) {
	at := real(t)
	h := handlersOf(t, at)["silence_alerts"]
	req := request(t, "silence_alerts", map[string]any{"alerts": []any{"A"}, "duration": "5m"})
	for _, names := range [][]string{nil, {}, {""}, {"A", "\t"}} {
		req.Parameters = actions.NewParameters(map[string]any{"alerts": names, "duration": time.Minute})
		_, err := h.Execute(t.Context(), req)
		require.ErrorContains(t, err, "would silence everything")
		_, err = h.(actions.DryRunner).DryRun(t.Context(), req)
		require.ErrorContains(t, err, "would silence everything", "a dry run says so too")
		require.False(t, actions.IsTransient(err))
		require.ErrorContains(t, h.(actions.Compensator).Compensate(t.Context(), req, &actions.Undo{}), "would silence everything")
	}
	for _, pattern := range []string{".*", ".+"} { // only a name to an Alertmanager, should it ever come here
		req.Parameters = actions.NewParameters(map[string]any{"alerts": []string{pattern}, "duration": time.Minute})
		undo := begun(t, h, req)
		require.Equal(t, false, active(t, at, pattern)[0].Matchers[0]["isRegex"])
		require.NoError(t, h.(actions.Compensator).Compensate(t.Context(), req, undo))
	}
}

func TestIncidentsAtTheSameTimeAreToldApart(t *testing.T) {
	at := real(t)
	fire(t, at, 9*time.Minute, map[string]string{"alertname": "CacheDown", "severity": "critical", "zone": "a", "svc": "cache"})
	fire(t, at, 8*time.Minute, map[string]string{"alertname": "ShopSlow", "severity": "critical", "zone": "a", "svc": "shop"})
	fire(t, at, 7*time.Minute, map[string]string{"alertname": "QueueFull", "severity": "critical", "zone": "b"})
	fire(t, at, 6*time.Minute, map[string]string{"alertname": "NowhereInParticular"})
	fire(t, at, 3*time.Hour, map[string]string{"alertname": "OldOfZoneA", "zone": "a"})
	names := []any{"CacheDown", "ShopSlow", "QueueFull", "NowhereInParticular", "OldOfZoneA"}
	r, err := handlersOf(t, at)["correlate_alerts"].Execute(t.Context(), request(t, "correlate_alerts", map[string]any{"alerts": names}))
	require.NoError(t, err)
	var groups []map[string]int
	for _, g := range r.Outputs["groups"].([]any) {
		groups = append(groups, g.(map[string]any)["alerts"].(map[string]int))
	}
	require.Equal(t, []map[string]int{{"CacheDown": 1, "ShopSlow": 1}, {"QueueFull": 1, "NowhereInParticular": 1}, {"OldOfZoneA": 1}}, groups)
	wide, err := handlersOf(t, at)["correlate_alerts"].Execute(t.Context(), request(t, "correlate_alerts", map[string]any{"alerts": names, "correlationWindow": "4h"}))
	require.NoError(t, err)
	first := wide.Outputs["groups"].([]any)[0].(map[string]any)
	require.Equal(t, map[string]int{"OldOfZoneA": 1, "CacheDown": 1, "ShopSlow": 1}, first["alerts"])
	require.Equal(t, "OldOfZoneA", first["candidates"].([]any)[0].(map[string]any)["alert"])
}

func TestAWrongAnswerIsNoAnswer(t *testing.T) {
	body := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
	defer s.Close()
	h := handlersOf(t, s.URL)["correlate_alerts"]
	for text, want := range map[string]string{"<html>": "is no JSON of the API v2", `{"status":"success"}`: "is no JSON of the API v2", "[" + strings.Repeat(" ", 33<<20): "the answer is longer than"} {
		body = text
		_, err := h.Execute(t.Context(), request(t, "correlate_alerts", map[string]any{"alerts": []any{"A"}}))
		require.ErrorContains(t, err, want)
		e, ok := errors.AsType[*actions.HandlerError](err)
		require.True(t, ok && !e.Transient)
		require.Less(t, len(err.Error()), 400)
	}
}
