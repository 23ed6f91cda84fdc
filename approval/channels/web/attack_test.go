package web_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/simulated"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/channels/web"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
)

// fields makes form values.
func fields(pairs ...string) url.Values {
	f := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		f.Set(pairs[i], pairs[i+1])
	}
	return f
}

// with is a form with fields changed.
func with(f url.Values, pairs ...string) url.Values {
	g := url.Values{}
	for k, v := range f {
		g[k] = v
	}
	for i := 0; i < len(pairs); i += 2 {
		g.Set(pairs[i], pairs[i+1])
	}
	return g
}

// Each attack is a request that must change nothing, with the answer that it gets.
func TestAttacksDecideNothing(t *testing.T) {
	s := newSite(t, setup{})
	_, req := s.start("r", oomkill(t))
	other, _ := s.start("other", oomkill(t))
	ann := s.as("ann")
	good := with(form(ann.get(s.url+"/runs/r").body), "verdict", "approve")
	foreign := form(s.as("mallory").get(s.url + "/runs/r").body)
	elsewhere := form(ann.get(s.url + "/runs/other").body)
	require.NotEmpty(t, good.Get("token"))
	to := s.url + "/runs/r/decision"

	for name, attack := range map[string]struct {
		do     func() reply
		status int
		says   string
	}{
		"no token":                 {func() reply { return ann.post(to, with(good, "token", "")) }, 403, "This form is not yours"},
		"a forged token":           {func() reply { return ann.post(to, with(good, "token", strings.Repeat("A", 43))) }, 403, "This form is not yours"},
		"another person's token":   {func() reply { return ann.post(to, with(good, "token", foreign.Get("token"))) }, 403, "This form is not yours"},
		"another run's token":      {func() reply { return ann.post(to, with(good, "token", elsewhere.Get("token"))) }, 403, "This form is not yours"},
		"another run's whole form": {func() reply { return ann.post(to, with(elsewhere, "verdict", "approve")) }, 403, "This form is not yours"},
		"the form sent to another": {func() reply { return ann.post(s.url+"/runs/other/decision", good) }, 403, "This form is not yours"},
		"another digest":           {func() reply { return ann.post(to, with(good, "digest", "sha256:0")) }, 403, "This form is not yours"},
		"another question":         {func() reply { return ann.post(to, with(good, "request", "other/rec-004")) }, 403, "This form is not yours"},
		"neither yes nor no":       {func() reply { return ann.post(to, with(good, "verdict", "pending")) }, 400, "neither yes nor no"},
		"a GET":                    {func() reply { return ann.get(to + "?" + good.Encode()) }, 404, "no such page"},
		"the fields in the query":  {func() reply { return ann.post(to+"?"+good.Encode(), url.Values{}) }, 403, "This form is not yours"},
		"a reason without end":     {func() reply { return ann.post(to, with(good, "reason", strings.Repeat("x", 1001))) }, 400, "at most 1000 characters"},
		"10 MB":                    {func() reply { return ann.post(to, with(good, "reason", strings.Repeat("x", 10<<20))) }, 413, "too long"},
		"nobody":                   {func() reply { return s.as("").post(to, good) }, 401, "named nobody"},
		"a name with hidden letters": {func() reply {
			r := request(t, http.MethodPost, s.direct+"/runs/r/decision", good.Encode())
			r.Host = strings.TrimPrefix(s.url, "http://")
			r.Header["X-Forwarded-User"] = []string{"an\u202en"}
			return s.as("").do(r)
		}, 401, "characters that no name has"},
		"two names": {func() reply {
			r := request(t, http.MethodPost, s.direct+"/runs/r/decision", good.Encode())
			r.Host = strings.TrimPrefix(s.url, "http://")
			r.Header["X-Forwarded-User"] = []string{"mallory", "ann"}
			return s.as("").do(r)
		}, 401, "more than one person"},
		"a header that the proxy takes away": {func() reply {
			r := request(t, http.MethodPost, to, good.Encode())
			r.Header.Set("X-Forwarded-User", "ann")
			return s.as("").do(r)
		}, 401, "named nobody"},
		"another site's form (Sec-Fetch-Site)": {func() reply {
			r := request(t, http.MethodPost, to, good.Encode())
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			return ann.do(r)
		}, 403, "came from another site"},
		"another site's form (Origin)": {func() reply {
			r := request(t, http.MethodPost, to, good.Encode())
			r.Header.Set("Origin", "https://evil.example")
			return ann.do(r)
		}, 403, "came from another site"},
		"a form as JSON": {func() reply {
			r := request(t, http.MethodPost, to, `{"verdict":"approve"}`)
			r.Header.Set("Content-Type", "application/json")
			return ann.do(r)
		}, 415, "This is no form"},
		"a wrong host": {func() reply {
			r := request(t, http.MethodPost, to, good.Encode())
			r.Host = "evil.example"
			return ann.do(r)
		}, 421, "not the address"},
		"the right host on another port": {func() reply {
			r := request(t, http.MethodGet, s.url+"/", "")
			r.Host = "127.0.0.1:9"
			return ann.do(r)
		}, 421, "not the address"},
		"the author":     {func() reply { return decideAs(s, "Holmes-Controller ", req) }, 403, "author of the plan"},
		"the model":      {func() reply { return decideAs(s, "some-model", req) }, 403, "model that wrote the plan"},
		"an unknown run": {func() reply { return ann.get(s.url + "/runs/none") }, 404, "not known here"},
		"a path upwards": {func() reply { return ann.get(s.url + "/assets/x/..%2f..%2fweb.go") }, 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := attack.do()
			require.Equal(t, attack.status, got.status, got.body)
			require.Contains(t, got.body, attack.says)
			report := s.ex.Lookup("r").Snapshot()
			require.Equal(t, executor.RunParked, report.Status())
			require.Empty(t, report.Step(3).Gate.Votes)
			require.Equal(t, executor.RunParked, other.Snapshot().Status())
		})
	}
	require.Equal(t, http.StatusSeeOther, ann.post(to, good).status, "the same form without an attack")
}

func request(t *testing.T, method, to, body string) *http.Request {
	r, err := http.NewRequestWithContext(t.Context(), method, to, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// decideAs hands a decision in as somebody whom the page gives no form, with a token that is good nevertheless.
func decideAs(s *site, who string, req *approval.Request) reply {
	b := s.as(strings.TrimSpace(who))
	page := b.get(s.channel.URL(req))
	require.NotContains(s.t, page.body, "<form")
	return b.post(s.url+"/runs/r/decision", fields("request", req.Key, "digest", req.Digest, "verdict", "approve",
		"token", web.FormToken(s.channel, strings.TrimSpace(who), req)))
}

func TestAHeaderFromAnUntrustedPeerIsNoIdentity(t *testing.T) {
	s := newSite(t, setup{noServer: true, options: func(o *web.Options) {
		o.URL = "https://approvals.example.com"
		o.Proxy.Trusted = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
	}})
	s.start("r", oomkill(t))
	for peer, want := range map[string]int{"10.1.2.3:99": 200, "[::ffff:10.1.2.3]:99": 200, "10.2.0.1:99": 403, "127.0.0.1:99": 403, "": 403, "@": 403} {
		r := httptest.NewRequest(http.MethodGet, "https://approvals.example.com/runs/r", nil)
		r.RemoteAddr = peer
		r.Header.Set("X-Forwarded-User", "ann")
		r.Header.Set("X-Forwarded-For", "10.1.2.3")
		w := httptest.NewRecorder()
		s.channel.ServeHTTP(w, r)
		require.Equal(t, want, w.Code, peer)
		require.Equal(t, want == 200, strings.Contains(w.Body.String(), "restart_pod"), peer)
	}
}

func TestEveryAnswerForbidsWhatPagesDoNotNeed(t *testing.T) {
	s := newSite(t, setup{})
	s.start("r", oomkill(t))
	for _, path := range []string{"/", "/runs/r", "/runs/none", "/none", "/runs/r/drawing.svg"} {
		h := s.as("ann").get(s.url + path).header
		policy := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'"} {
			require.Contains(t, policy, want, path)
		}
		require.NotContains(t, policy, "unsafe", path)
		require.Equal(t, []string{"no-store", "nosniff", "no-referrer", "DENY"},
			[]string{h.Get("Cache-Control"), h.Get("X-Content-Type-Options"), h.Get("Referrer-Policy"), h.Get("X-Frame-Options")}, path)
	}
	page := s.as("ann").get(s.url + "/runs/r")
	require.Equal(t, "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
		page.header.Get("Content-Security-Policy"))
	require.NotRegexp(t, `(?i)<script>|<style|\sstyle=|\son\w+=`, page.body)
}

func TestThePageCannotBeFramed(t *testing.T) {
	ctx := chromium(t)
	s := newSite(t, setup{})
	_, req := s.start("r", oomkill(t))
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<iframe src="%s" width="900" height="900"></iframe>`, s.channel.URL(req))
	}))
	defer evil.Close()
	do(t, ctx, signed(s, "ann", ""), chromedp.Navigate(s.channel.URL(req)), chromedp.WaitVisible(chromedp.CSS("button.approve")))
	do(t, ctx, chromedp.Navigate(evil.URL))
	require.Contains(t, frames(t, ctx), "chrome-error:", "the frame shows that it may not be shown")
}

// What a model writes everywhere must reach the page as text.
const hostile = `</textarea></script><script>document.title='owned'</script><img src=x onerror="document.title='owned'"><a href="javascript:document.title='owned'">click</a> [l](javascript:1) https://evil.example {{.Token}}`

func TestMarkupInEveryFieldOfAPlanIsText(t *testing.T) {
	j := jsonText(hostile)
	doc := `{"recommendations": [{"id": "a", "action": "restart_pod", "description": ` + j + `, "rationale": ` + j + `, "confidence": 0.9,
		"requiresApproval": true, "risk": "high", "dependencies": [],
		"parameters": {"deployment": "payment-service", "namespace": "production", "reason": ` + j + `}}]}`
	plan, err := dag.Load([]byte(doc), actions.Canonical())
	require.NoError(t, err)
	s := newSite(t, setup{config: func(c *executor.Config) {
		h := simulated.New(simulated.Options{Scale: -1, Fail: func(*actions.Request) error { return fmt.Errorf("%s", hostile) }}).Handlers(actions.Canonical())
		for name := range h {
			h[name] = hostilePreview{h[name]}
		}
		c.Handlers = h
	}})
	o := surely
	o.ID, o.Author, o.Model = "r", hostile, hostile
	o.Incident = &approval.Incident{ID: hostile, Title: hostile, Summary: hostile, Evidence: []string{hostile, hostile}}
	run, req := s.startWith(plan, o)
	ctx := chromium(t)
	safe := func(where string) {
		require.Equal(t, 0, get(t, ctx, chromedp.Evaluate[int](`document.querySelectorAll("main script, img[src=x], a[href^='javascript:'], a[href*=evil]").length`)), where)
		require.NotEqual(t, "owned", get(t, ctx, chromedp.Title()), where)
	}
	do(t, ctx, signed(s, "ann", ""), chromedp.Navigate(s.url+"/"))
	safe("the list")
	require.Contains(t, get(t, ctx, chromedp.Text(chromedp.CSS("main"))), "<script>")
	do(t, ctx, chromedp.Navigate(s.channel.URL(req)))
	safe("the page")
	facts := get(t, ctx, chromedp.Evaluate[string](`document.querySelector("#facts").textContent`))
	require.GreaterOrEqual(t, strings.Count(facts, "<img src=x onerror="), 8, facts)
	require.Contains(t, get(t, ctx, chromedp.Evaluate[string](`document.querySelector(".diff").textContent`)), "<script>")
	do(t, ctx, chromedp.Navigate(s.url+"/runs/r/drawing.svg"))
	require.Equal(t, 0, get(t, ctx, chromedp.Evaluate[int](`document.querySelectorAll("script, image, a, foreignObject").length`)))
	require.Equal(t, http.StatusSeeOther, s.as("bob").decide(s, "r", "approve", hostile).status)
	ended(t, run)
	do(t, ctx, chromedp.Navigate(s.channel.URL(req)), says("#decision", "<script>"))
	safe("the page of what was decided, and of what failed")
	require.Contains(t, get(t, ctx, chromedp.Text(chromedp.CSS("#events"))), "<script>")
}

type hostilePreview struct{ actions.ActionHandler }

func (h hostilePreview) Unwrap() actions.ActionHandler { return h.ActionHandler }

func (hostilePreview) DryRun(context.Context, *actions.Request) (*actions.Preview, error) {
	return &actions.Preview{Verdict: actions.Verified, Change: []string{"+ " + hostile}}, nil
}

func TestASlowBodyIsCutOffAndTheOthersAreServed(t *testing.T) {
	s := newSite(t, setup{})
	s.start("r", oomkill(t))
	host := strings.TrimPrefix(s.url, "http://")
	began := time.Now()
	var slow []net.Conn
	for i := range 50 {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.direct, "http://"))
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		if i%2 == 0 { // half of them never end their headers
			_, err = fmt.Fprintf(c, "POST /runs/r/decision HTTP/1.1\r\nHost: %s\r\nX-Forwarded-User: mallory%d\r\n", host, i)
		} else {
			_, err = fmt.Fprintf(c, "POST /runs/r/decision HTTP/1.1\r\nHost: %s\r\nX-Forwarded-User: mallory%d\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n\r\nrequest=", host, i)
		}
		require.NoError(t, err)
		slow = append(slow, c)
	}
	require.Equal(t, http.StatusOK, s.as("ann").get(s.url+"/runs/r").status)
	require.Equal(t, http.StatusSeeOther, s.as("ann").decide(s, "r", "approve", "").status)
	for i, c := range slow {
		require.NoError(t, c.SetReadDeadline(began.Add(30*time.Second)))
		got, err := io.ReadAll(c)
		require.NoError(t, err, "connection %d is still open", i)
		require.NotContains(t, string(got), " 303 ")
	}
	require.Less(t, time.Since(began), 20*time.Second)
}

func TestAClientThatDoesNotReadItsStreamIsDropped(t *testing.T) {
	s := newSite(t, setup{})
	s.start("r", oomkill(t))
	c, err := net.Dial("tcp", strings.TrimPrefix(s.direct, "http://"))
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	_, err = fmt.Fprintf(c, "GET /runs/r/live HTTP/1.1\r\nHost: %s\r\nX-Forwarded-User: ann\r\n\r\n", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	line, err := bufio.NewReader(c).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "200")
	// Observing never waits for it, however much happens.
	began := time.Now()
	for i := range 100_000 {
		s.channel.Observe(executor.Event{Seq: int64(i), Run: "r", Kind: executor.EventStepStarted, Step: "rec-004", Message: strings.Repeat("x", 2000)})
	}
	require.Less(t, time.Since(began), 5*time.Second)
	require.LessOrEqual(t, web.Events(s.channel, "r"), 256)
	page := s.as("ann").get(s.url + "/runs/r")
	require.Contains(t, page.body, "older events are not kept here")
	require.Less(t, len(page.body), 200<<10, "the events of one run have bounds")
}

func TestStreamsHaveBounds(t *testing.T) {
	s := newSite(t, setup{options: func(o *web.Options) { o.MaxStreams = 10 }})
	s.start("r", oomkill(t))
	open := func(who string) int {
		r := request(t, http.MethodGet, s.url+"/runs/r/live", "")
		r.AddCookie(&http.Cookie{Name: "who", Value: who})
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		t.Cleanup(func() { _ = res.Body.Close() })
		return res.StatusCode
	}
	for range 8 {
		require.Equal(t, 200, open("ann"))
	}
	require.Equal(t, 429, open("ann"), "one person's ninth")
	require.Equal(t, []int{200, 200, 429}, []int{open("bob"), open("bob"), open("bob")})
}

func TestDecisionsAreLimitedByPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, setup{noServer: true, options: func(o *web.Options) { o.DecisionsPerMinute = 5 }})
		post := func(who string) *httptest.ResponseRecorder {
			return s.direct1(who, http.MethodPost, "/runs/r/decision", fields("verdict", "approve"))
		}
		for range 5 {
			require.Equal(t, http.StatusForbidden, post("mallory").Code)
		}
		limited := post("Mallory")
		require.Equal(t, http.StatusTooManyRequests, limited.Code)
		require.Equal(t, "13", limited.Header().Get("Retry-After"))
		require.Equal(t, http.StatusForbidden, post("ann").Code, "others are not kept waiting")
		time.Sleep(13 * time.Second)
		require.Equal(t, http.StatusForbidden, post("mallory").Code)
	})
}

// direct1 asks the handler itself, in virtual time.
func (s *site) direct1(who, method, path string, f url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, s.url+path, strings.NewReader(f.Encode()))
	r.RemoteAddr = "127.0.0.1:4711"
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Forwarded-User", who)
	w := httptest.NewRecorder()
	s.channel.ServeHTTP(w, r)
	return w
}

func TestTenThousandQuestionsCanBeListed(t *testing.T) {
	s := newSite(t, setup{})
	plan := oomkill(t)
	now := time.Now()
	for i := range 10_000 {
		_, err := s.channel.Approve(t.Context(), &approval.Request{
			Key: fmt.Sprintf("run-%05d/rec-004", i), Run: fmt.Sprintf("run-%05d", i), Plan: plan, Step: plan.Step(3), Digest: "d",
			AskedAt: now, ExpiresAt: now.Add(time.Hour + time.Duration(i)*time.Second),
		})
		require.NoError(t, err)
	}
	began := time.Now()
	first := s.as("ann").get(s.url + "/")
	t.Logf("the list of 10,000 took %s and has %d KB", time.Since(began).Round(time.Millisecond), len(first.body)>>10)
	require.Contains(t, first.body, "10000 questions wait; 1 to 100 of them are below")
	require.Less(t, len(first.body), 200<<10)
	require.Contains(t, first.body, "/runs/run-00000?")
	last := s.as("ann").get(s.url + "/?page=100")
	require.Contains(t, last.body, "/runs/run-09999?")
	require.NotContains(t, last.body, ">Later<")
	require.Contains(t, s.as("ann").get(s.url+"/?page=101").body, "go to its beginning")
	require.Less(t, time.Since(began), 5*time.Second)
}

func TestNoKeyAndNoIdentityIsNoChannel(t *testing.T) {
	proxy := &web.Proxy{UserHeader: "X-Forwarded-User"}
	links, err := web.NewLinks("https://a.example", key)
	require.NoError(t, err)
	for want, o := range map[string]web.Options{
		"openssl rand":            {URL: "https://a.example", Proxy: proxy},
		"has 31 bytes":            {URL: "https://a.example", Proxy: proxy, Key: bytes.Repeat([]byte("k"), 31)},
		"choose exactly one":      {URL: "https://a.example", Key: key},
		"2 of Options.Proxy":      {URL: "https://a.example", Key: key, Proxy: proxy, Links: links},
		"is not https":            {URL: "http://a.example", Key: key, Proxy: proxy},
		"where people reach":      {URL: "", Key: key, Proxy: proxy},
		"UserHeader is empty":     {URL: "https://a.example", Key: key, Proxy: &web.Proxy{}},
		"trusts everybody":        {URL: "https://a.example", Key: key, Proxy: &web.Proxy{UserHeader: "X", Trusted: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}},
		"another URL or key":      {URL: "https://b.example", Key: key, Links: links},
		"Issuer http://b.example": {URL: "https://a.example", Key: key, OIDC: &web.OIDC{Issuer: "http://b.example", ClientID: "x"}},
		"ClientID is empty":       {URL: "https://a.example", Key: key, OIDC: &web.OIDC{Issuer: "https://b.example"}},
		"cannot be negative":      {URL: "https://a.example", Key: key, Proxy: proxy, Keep: -1},
	} {
		_, err := web.New(o)
		require.ErrorContains(t, err, want)
	}
}
