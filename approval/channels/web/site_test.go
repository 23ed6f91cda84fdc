package web_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/simulated"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/channels/web"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/schema"
)

var key = bytes.Repeat([]byte("k"), 32)

// A site is a channel behind its own server, with an executor whose handlers only pretend. Unless a test chooses
// otherwise, people are known by what a proxy in front says.
type site struct {
	t       testing.TB
	channel *web.Channel
	ex      *executor.Executor
	url     string // as people reach it
	direct  string // the server itself, past the proxy
	ctx     context.Context
}

type setup struct {
	options  func(o *web.Options)
	config   func(c *executor.Config)
	noServer bool
	// deaf has the executor tell the channel nothing of what became of a request.
	deaf bool
}

// newSite starts one. The proxy takes the person from the cookie "who" and the groups from "groups", as one that has signed
// people in would from its session.
func newSite(t testing.TB, s setup) *site {
	t.Helper()
	at := &site{t: t, url: "http://127.0.0.1:1", ctx: t.Context()}
	var front, back net.Listener
	if !s.noServer {
		front, back = listen(t), listen(t)
		at.url, at.direct = "http://"+front.Addr().String(), "http://"+back.Addr().String()
	}
	o := web.Options{URL: at.url, Key: key, Proxy: &web.Proxy{UserHeader: "X-Forwarded-User", GroupsHeader: "X-Forwarded-Groups"}}
	if s.options != nil {
		s.options(&o)
	}
	channel, err := web.New(o)
	require.NoError(t, err)
	c := executor.Config{Handlers: surveyed(simulated.New(simulated.Options{Scale: -1}).Handlers(actions.Canonical())), Policy: approval.IncidentTable()}
	if s.config != nil {
		s.config(&c)
	}
	c.Approver, c.Observers = channel, append(c.Observers, channel)
	if s.deaf {
		c.Approver = approval.ApproverFunc(channel.Approve)
	}
	at.ex, err = executor.New(c)
	require.NoError(t, err)
	channel.Attach(at.ex)
	at.channel = channel
	if !s.noServer {
		serve(t, channel.Server(), back)
		serve(t, &http.Server{Handler: proxy(at.direct), ReadHeaderTimeout: time.Second}, front)
	}
	return at
}

func listen(t testing.TB) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

func serve(t testing.TB, s *http.Server, l net.Listener) {
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the server ended: %v", err)
		}
	})
}

// proxy says who somebody is, and lets nobody say it for themselves.
func proxy(to string) http.Handler {
	target, _ := url.Parse(to)
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host
			for header, cookie := range map[string]string{"X-Forwarded-User": "who", "X-Forwarded-Groups": "groups"} {
				p.Out.Header.Del(header)
				if c, err := p.In.Cookie(cookie); err == nil {
					p.Out.Header.Set(header, c.Value)
				}
			}
		},
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
}

// surveyed has handlers tell in advance what they would change, from what the object is now.
func surveyed(h actions.Handlers) actions.Handlers {
	for name := range h {
		h[name] = survey{h[name]}
	}
	return h
}

type survey struct{ actions.ActionHandler }

func (s survey) Unwrap() actions.ActionHandler { return s.ActionHandler }

func (s survey) DryRun(_ context.Context, req *actions.Request) (*actions.Preview, error) {
	return &actions.Preview{Verdict: actions.Verified, Change: []string{
		"Deployment production/payment-service",
		"  metadata.annotations.kubectl.kubernetes.io/restartedAt:",
		"-   2025-03-01T08:12:44Z",
		"+   " + "2025-03-04T15:02:10Z",
		"3 of 3 pods are replaced, one after the other; 2 stay ready",
	}, Basis: map[string]string{"resourceVersion": "4711"}}, nil
}

// oomkill is the plan of the project's first incident, which has one gate, before step 4.
func oomkill(t testing.TB) *dag.Plan {
	t.Helper()
	const plans = "../../../examples/plans/"
	overlay, err := os.ReadFile(plans + "oomkill.overlay.yaml")
	require.NoError(t, err)
	over, err := schema.ParseOverlay(overlay)
	require.NoError(t, err)
	data, err := os.ReadFile(plans + "oomkill.json")
	require.NoError(t, err)
	plan, err := dag.Load(data, actions.Canonical(), dag.WithOverlay(over))
	require.NoError(t, err)
	return plan
}

var surely = executor.RunOptions{Author: "holmes-controller", Model: "some-model", Confidence: approval.Confidence{Value: 0.725, Given: true}}

// start starts a run and waits until it asks somebody.
func (s *site) start(id string, plan *dag.Plan) (*executor.Run, *approval.Request) {
	s.t.Helper()
	o := surely
	o.ID = id
	return s.startWith(plan, o)
}

func (s *site) startWith(plan *dag.Plan, o executor.RunOptions) (*executor.Run, *approval.Request) {
	s.t.Helper()
	run, err := s.ex.Start(s.ctx, plan, o)
	require.NoError(s.t, err)
	report, err := run.Wait(s.ctx)
	require.NoError(s.t, err)
	require.Equal(s.t, executor.RunParked, report.Status())
	return run, report.Waiting()[0]
}

// stoppable has the runs that start from then on end as when their process dies, and returns what ends them.
func (s *site) stoppable() (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	s.ctx = ctx
	return cancel
}

// A browser is a client that keeps cookies and does as a person does, without a script.
type browser struct {
	t    testing.TB
	http *http.Client
	who  string
	in   []string // groups
}

func (s *site) as(who string, groups ...string) *browser {
	return &browser{t: s.t, who: who, in: groups, http: &http.Client{
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// A reply is what came back.
type reply struct {
	status int
	header http.Header
	body   string
}

func (b *browser) do(r *http.Request) reply {
	b.t.Helper()
	if b.who != "" {
		r.AddCookie(&http.Cookie{Name: "who", Value: b.who})
		r.AddCookie(&http.Cookie{Name: "groups", Value: strings.Join(b.in, ",")})
	}
	res, err := b.http.Do(r)
	require.NoError(b.t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(b.t, err)
	return reply{res.StatusCode, res.Header, string(body)}
}

func (b *browser) get(url string) reply {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, url, nil)
	require.NoError(b.t, err)
	return b.do(r)
}

func (b *browser) post(url string, form url.Values) reply {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, url, strings.NewReader(form.Encode()))
	require.NoError(b.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(r)
}

var hidden = regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`)

// form is what the form of a page holds, as it stands there.
func form(page string) url.Values {
	f := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(page, -1) {
		f.Set(m[1], strings.NewReplacer("&#43;", "+", "&amp;", "&").Replace(m[2]))
	}
	return f
}

// decide opens the page of a run and hands in its form.
func (b *browser) decide(s *site, run, verdict, reason string) reply {
	b.t.Helper()
	page := b.get(s.url + "/runs/" + run)
	require.Equal(b.t, http.StatusOK, page.status)
	f := form(page.body)
	f.Set("verdict", verdict)
	f.Set("reason", reason)
	return b.post(s.url+"/runs/"+run+"/decision", f)
}

// ended waits until a run has ended.
func ended(t testing.TB, run *executor.Run) *executor.Report {
	t.Helper()
	select {
	case <-run.Done():
		return run.Snapshot()
	case <-time.After(20 * time.Second):
		t.Fatal("the run does not end")
		return nil
	}
}
