package email_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/channels/email"
	"github.com/remedykit/remedy/approval/channels/internal/asktest"
	"github.com/remedykit/remedy/approval/channels/link"
)

var key = []byte("0123456789abcdef0123456789abcdef")

var sre = approval.Panel{Approvers: approval.Approvers{Groups: []string{"sre"}}}

// options are those of a channel whose page is at an address.
func options(p *postOffice, at string) email.Options {
	return email.Options{
		URL: at, Key: key, From: "Remedy <remedy@example.com>",
		People: map[string]email.Person{
			"ann": {Address: "Ann Example <ann@example.com>", Groups: []string{"sre"}}, "bob": {Address: "bob@example.com", Groups: []string{"sre"}},
			"eve": {Address: "eve@example.com", Groups: []string{"leads"}}, "RCA-Controller": {Address: "rca@example.com", Groups: []string{"sre"}},
		},
		Server: email.Server{Address: p.address, User: user, Password: password, TLS: p.tls()},
	}
}

func channel(t *testing.T, o email.Options) *email.Channel {
	t.Helper()
	c, err := email.New(o)
	require.NoError(t, err)
	return c
}

// decisions is a decider that keeps what it is handed.
type decisions struct {
	mu     sync.Mutex
	all    []approval.Decision
	steps  []string
	answer error
}

func (d *decisions) Decide(_ context.Context, run, step string, decision approval.Decision) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.answer != nil {
		return d.answer
	}
	d.all, d.steps = append(d.all, decision), append(d.steps, run+"/"+step)
	return nil
}

func (d *decisions) set(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = err
}

func (d *decisions) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.all)
}

// A site serves the page of a channel.
type site struct {
	*httptest.Server
	handler http.Handler
}

// serve starts a site, whose handler is set once there is a channel.
func serve(t *testing.T) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }))
	t.Cleanup(s.Close)
	return s
}

func do(t *testing.T, method, at string, form url.Values) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, at, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, html.UnescapeString(string(data)), resp.Header
}

func say(verdict, reason string) url.Values {
	return url.Values{"verdict": {verdict}, "reason": {reason}}
}

var links = regexp.MustCompile(`http://127\.0\.0\.1:\d+/approve/[A-Za-z0-9_.-]+`)

// linkOf is the link in a mail.
func linkOf(t *testing.T, l letter) string {
	t.Helper()
	inText, inHTML := links.FindAllString(l.text, -1), links.FindAllString(l.html, -1)
	require.Len(t, inText, 1)
	require.Equal(t, inText, inHTML)
	return inText[0]
}

// letters waits until as many mails have arrived.
func letters(t *testing.T, p *postOffice, n int) map[string]letter {
	t.Helper()
	all := map[string]letter{}
	require.Eventually(t, func() bool {
		for _, l := range p.got() {
			require.NotContains(t, all, l.to, "nobody gets two mails about one thing")
			all[l.to] = l
		}
		return len(all) >= n
	}, 10*time.Second, 5*time.Millisecond)
	require.Len(t, all, n)
	return all
}

func TestEverybodyWhoMayDecideGetsAMailOfTheirOwn(t *testing.T) {
	office := open(t, false, false)
	c := channel(t, options(office, "http://127.0.0.1:1/approve"))
	req := asktest.Request(t, time.Now(), sre)
	d, err := c.Approve(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, &approval.Decision{Verdict: approval.Pending, Receipt: `["ann","bob"]`}, d)
	all := letters(t, office, 2)
	ann, bob := all["ann@example.com"], all["bob@example.com"]
	require.True(t, ann.tls, "the mail came over TLS")
	require.Equal(t, `"Ann Example" <ann@example.com>`, ann.header.Get("To"))
	require.Equal(t, `"Remedy" <remedy@example.com>`, ann.header.Get("From"))
	require.Equal(t, "Approve step 4, restart_pod? Run run-1", ann.subject(t))
	require.Equal(t, "auto-generated", ann.header.Get("Auto-Submitted"))
	require.Regexp(t, `^<[0-9a-f]{32}@example\.com>$`, ann.header.Get("Message-ID"))
	require.NotEqual(t, ann.header.Get("Message-ID"), bob.header.Get("Message-ID"))
	require.NotEqual(t, linkOf(t, ann), linkOf(t, bob))
	for _, part := range []string{ann.text, html.UnescapeString(ann.html)} {
		for _, what := range []string{
			"Payments run out of memory", "heap grows by 50 MB an hour", "Rolling restart to clear leaked memory", "restartedAt: none → 2026-05-04T12:00:00Z",
			"On silence", "means no", "step 4 does not run", "┌", "for ann alone",
		} {
			require.Contains(t, part, what)
		}
	}
	require.Contains(t, ann.text, "\n  | heap grows by 50 MB an hour\n", "words of others stand behind a bar")

	again, err := c.Approve(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, d, again)
	require.Empty(t, office.got(), "asking again mails nobody twice")
	restarted := *req
	restarted.Receipt = d.Receipt
	again, err = channel(t, options(office, "http://127.0.0.1:1/approve")).Approve(t.Context(), &restarted)
	require.NoError(t, err)
	require.Equal(t, d, again)
	require.Empty(t, office.got(), "nor does another process that has the receipt")
	_, err = channel(t, options(office, "http://127.0.0.1:1/approve")).Approve(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, ann.header.Get("Message-ID"), letters(t, office, 2)["ann@example.com"].header.Get("Message-ID"), "what must be sent again has the same id")
}

func TestWhoWasReachedIsNotMailedAgain(t *testing.T) {
	office := open(t, false, false)
	c := channel(t, options(office, "http://127.0.0.1:1/approve"))
	req := asktest.Request(t, time.Now(), sre)
	office.refuses("bob@example.com", &smtp.SMTPError{Code: 451, Message: "later"})
	_, err := c.Approve(t.Context(), req)
	require.ErrorContains(t, err, "does not take the mail for bob: ")
	require.ErrorContains(t, err, "451")
	letters(t, office, 1)
	office.refuses("bob@example.com", nil)
	_, err = c.Approve(t.Context(), req)
	require.NoError(t, err)
	require.Contains(t, letters(t, office, 1), "bob@example.com")

	_, err = c.Approve(t.Context(), asktest.Request(t, time.Now(), approval.Panel{Approvers: approval.Approvers{People: []string{"zoe"}}}))
	require.NoError(t, err, "the same key is the same question")
	other := asktest.Request(t, time.Now(), approval.Panel{Approvers: approval.Approvers{People: []string{"zoe"}}})
	other.Key = "run-2/rec-004"
	_, err = c.Approve(t.Context(), other)
	require.EqualError(t, err, "email: nobody can be asked about step 4, restart_pod: People has none of those who may decide")
}

func TestFollowingALinkDecidesNothing(t *testing.T) {
	office, s, d := open(t, false, false), serve(t), &decisions{}
	c := channel(t, options(office, s.URL+"/approve"))
	s.handler = c.Handler(d)
	_, err := c.Approve(t.Context(), asktest.Request(t, time.Now(), sre))
	require.NoError(t, err)
	all := letters(t, office, 2)
	ann, bob := linkOf(t, all["ann@example.com"]), linkOf(t, all["bob@example.com"])
	for range 20 {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			status, _, _ := do(t, method, ann, nil)
			require.Equal(t, http.StatusOK, status)
		}
	}
	require.Zero(t, d.count())
	status, body, header := do(t, http.MethodGet, ann, nil)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "You answer as <strong>ann</strong>")
	require.Contains(t, body, "Rolling restart to clear leaked memory")
	require.NotContains(t, body, "<script")
	require.NotContains(t, body, "style=")
	require.Equal(t, "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'", header.Get("Content-Security-Policy"))
	require.Equal(t, "no-store", header.Get("Cache-Control"))
	require.Equal(t, "no-referrer", header.Get("Referrer-Policy"))
	require.Equal(t, "DENY", header.Get("X-Frame-Options"))
	status, _, header = do(t, http.MethodGet, s.URL+"/approve/style.css", nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "text/css; charset=utf-8", header.Get("Content-Type"))

	d.set(errors.New("the journal cannot be written"))
	status, body, _ = do(t, http.MethodPost, ann, say("approve", ""))
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "Not counted: the journal cannot be written.")
	d.set(nil)
	status, body, _ = do(t, http.MethodPost, ann, say("approve", " looks right \n"))
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "Your yes was counted.")
	require.Equal(t, []approval.Decision{{Verdict: approval.Approved, By: "ann", Groups: []string{"sre"}, Reason: "looks right", Digest: "sha256:0f3c"}}, d.all)
	require.Equal(t, []string{"run-1/rec-004"}, d.steps)
	status, body, _ = do(t, http.MethodPost, ann, say("reject", ""))
	require.Equal(t, http.StatusConflict, status)
	require.Contains(t, body, "Your yes was counted. This link has been used")
	status, body, _ = do(t, http.MethodGet, ann, nil)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "This link has been used")
	require.NotContains(t, body, "<form")
	require.Equal(t, 1, d.count())

	var clicks sync.WaitGroup
	for range 8 {
		clicks.Go(func() {
			if resp, err := http.PostForm(bob, say("reject", "")); err == nil {
				_ = resp.Body.Close()
			}
		})
	}
	clicks.Wait()
	require.Equal(t, 2, d.count(), "a double click counts once")
}

func TestAnAttackOnTheLinksDecidesNothing(t *testing.T) {
	office, s, d := open(t, false, false), serve(t), &decisions{}
	o := options(office, s.URL+"/approve")
	c := channel(t, o)
	s.handler = c.Handler(d)
	req := asktest.Request(t, time.Now(), sre)
	_, err := c.Approve(t.Context(), req)
	require.NoError(t, err)
	good := linkOf(t, letters(t, office, 2)["ann@example.com"])
	claims := link.Claims{Run: req.Run, Step: "rec-004", Request: req.Key, Digest: req.Digest, Person: "ann", Expires: req.ExpiresAt}
	made := func(key []byte, change func(*link.Claims)) string {
		signer, err := link.New(key)
		require.NoError(t, err)
		own := claims
		change(&own)
		token, err := signer.Make(own)
		require.NoError(t, err)
		return s.URL + "/approve/" + token
	}
	late := func(by time.Duration) func(*link.Claims) {
		return func(c *link.Claims) { c.Expires = time.Now().Add(by) }
	}
	form := func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }
	big := "verdict=approve&reason=" + strings.Repeat("x", 10<<20)
	for name, attack := range map[string]struct {
		method, at, body string
		change           func(*http.Request)
		status           int
		says             string
	}{
		"a forged signature":       {http.MethodPost, made([]byte("another key of thirty-two bytes!"), func(*link.Claims) {}), "verdict=approve", form, http.StatusForbidden, "damaged"},
		"a cut link":               {http.MethodPost, good[:len(good)-1], "verdict=approve", form, http.StatusForbidden, "Copy the whole"},
		"a link of another run":    {http.MethodPost, strings.Replace(good, "/approve/", "/approve/x", 1), "verdict=approve", form, http.StatusForbidden, "damaged"},
		"an expired link":          {http.MethodPost, made(key, late(-time.Second)), "verdict=approve", form, http.StatusGone, "counts as a no"},
		"a clock an hour ahead":    {http.MethodPost, made(key, late(15*time.Minute-time.Hour)), "verdict=approve", form, http.StatusGone, "expired"},
		"somebody who left":        {http.MethodPost, made(key, func(c *link.Claims) { c.Person = "zoe" }), "verdict=approve", form, http.StatusForbidden, "cannot decide any more"},
		"a body of 10 MB":          {http.MethodPost, good, big, form, http.StatusRequestEntityTooLarge, "nothing was decided"},
		"another host":             {http.MethodPost, good, "verdict=approve", func(r *http.Request) { form(r); r.Host = "evil.example" }, http.StatusMisdirectedRequest, "not served"},
		"a verdict in the address": {http.MethodPost, good + "?verdict=approve", "", form, http.StatusBadRequest, "neither yes nor no"},
		"no verdict":               {http.MethodPost, good, "reason=x", form, http.StatusBadRequest, "neither yes nor no"},
		"another verdict":          {http.MethodPost, good, "verdict=approved", form, http.StatusBadRequest, "neither yes nor no"},
		"JSON":                     {http.MethodPost, good, `{"verdict":"approve"}`, func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, http.StatusBadRequest, "neither yes nor no"},
		"a scanner's GET":          {http.MethodGet, good + "?verdict=approve", "", nil, http.StatusOK, "Approve"},
		"a scanner's HEAD":         {http.MethodHead, good, "", nil, http.StatusOK, ""},
		"PUT":                      {http.MethodPut, good, "verdict=approve", form, http.StatusMethodNotAllowed, ""},
		"another path":             {http.MethodPost, s.URL + "/approve/", "verdict=approve", form, http.StatusNotFound, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), attack.method, attack.at, strings.NewReader(attack.body))
			require.NoError(t, err)
			if attack.change != nil {
				attack.change(r)
			}
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(w, r)
			require.Equal(t, attack.status, w.Code)
			require.Contains(t, w.Body.String(), attack.says)
			require.Zero(t, d.count())
		})
	}
}

func TestTheAnswerToALateAnswerIsTheExecutorsOwn(t *testing.T) {
	office, s, d := open(t, false, false), serve(t), &decisions{}
	c := channel(t, options(office, s.URL+"/approve"))
	s.handler = c.Handler(d)
	_, err := c.Approve(t.Context(), asktest.Request(t, time.Now(), sre))
	require.NoError(t, err)
	at := linkOf(t, letters(t, office, 2)["ann@example.com"])
	for err, want := range map[error]int{
		approval.ErrExpired: http.StatusGone, approval.ErrDecided: http.StatusConflict, approval.ErrVoted: http.StatusConflict,
		approval.ErrDigest: http.StatusConflict, approval.ErrNotAsked: http.StatusConflict, approval.ErrNotApprover: http.StatusForbidden,
	} {
		d.set(err)
		status, body, _ := do(t, http.MethodPost, at, say("approve", ""))
		require.Equal(t, want, status)
		require.Contains(t, body, "Not counted: "+err.Error())
	}
}

// allowed are the elements of a mail and of the page.
var allowed = map[string]bool{
	"html": true, "head": true, "meta": true, "title": true, "style": true, "link": true, "body": true, "main": true, "div": true, "h1": true, "p": true, "a": true,
	"table": true, "tbody": true, "tr": true, "th": true, "td": true, "pre": true, "form": true, "label": true, "textarea": true, "button": true, "strong": true,
}

// inert fails when HTML has an element, an attribute or a link that is not ours.
func inert(t *testing.T, text, ours string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(text))
	require.NoError(t, err)
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		require.True(t, allowed[n.Data], "an element <%s>", n.Data)
		for _, a := range n.Attr {
			require.False(t, strings.HasPrefix(a.Key, "on") || a.Key == "src" || a.Key == "style", "an attribute %s", a.Key)
			if n.Data == "a" && a.Key == "href" {
				require.Equal(t, ours, a.Val)
			}
		}
	}
}

func TestHostileWordsAreTextInEveryPart(t *testing.T) {
	office, s := open(t, false, false), serve(t)
	c := channel(t, options(office, s.URL+"/approve"))
	s.handler = c.Handler(&decisions{})
	req := asktest.Hostile(t, time.Now(), sre)
	_, err := c.Approve(t.Context(), req)
	require.NoError(t, err)
	all := letters(t, office, 3)["ann@example.com"]
	at := linkOf(t, all)
	require.NoError(t, c.Update(t.Context(), req, approval.Standing{
		Votes: []approval.Vote{{By: asktest.Markup + asktest.Controls, Reason: asktest.Markup + asktest.Controls}}, Missing: asktest.Markup + asktest.Controls,
	}))
	vote := letters(t, office, 3)["ann@example.com"]
	resp, err := http.Get(at)
	require.NoError(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, c.Update(t.Context(), req, approval.Standing{State: approval.Denied, By: asktest.Markup + asktest.Controls, Reason: asktest.Markup + asktest.Controls}))
	closed := letters(t, office, 3)["ann@example.com"]
	for _, l := range []letter{all, vote, closed} {
		for name := range l.header {
			require.Contains(t, []string{"From", "To", "Subject", "Message-Id", "In-Reply-To", "References", "Date", "Mime-Version", "Auto-Submitted", "Content-Type"}, name)
		}
		require.LessOrEqual(t, len([]rune(l.subject(t))), 190)
		for _, part := range []string{l.text, l.html, l.subject(t)} {
			for _, r := range part {
				require.False(t, r != '\n' && r < ' ' || strings.ContainsRune("\u202e\u2066\u200b\ufeff\u2028\u00ad\x7f", r), "%U", r)
			}
		}
		inert(t, l.html, at)
		require.NotContains(t, l.text, "http://evil")
		require.NotContains(t, html.UnescapeString(l.html), "www.evil")
		require.Contains(t, html.UnescapeString(l.html), "<!channel> <!here>", "it is shown all the same")
	}
	inert(t, string(raw), at)
	require.Contains(t, vote.text, "<U+001B>")
}

func TestWhatCannotBeSafeIsRefusedWhenTheChannelIsMade(t *testing.T) {
	office := open(t, false, false)
	for want, change := range map[string]func(*email.Options){
		"URL is to be the address":  func(o *email.Options) { o.URL = "" },
		"is not https":              func(o *email.Options) { o.URL = "http://remedy.example.com/approve" },
		"URL is to be":              func(o *email.Options) { o.URL = "https://user@remedy.example.com/approve" },
		"it takes 32 random ones":   func(o *email.Options) { o.Key = nil },
		"given with URL or Key":     func(o *email.Options) { o.Links = elsewhere{} },
		"From":                      func(o *email.Options) { o.From = "remedy\r\nBcc: x@example.com" },
		"People is empty":           func(o *email.Options) { o.People = nil },
		"no e-mail address":         func(o *email.Options) { o.People = map[string]email.Person{"ann": {Address: "ann@x\r\nBcc: y@z"}} },
		"twice":                     func(o *email.Options) { o.People[" ANN "] = email.Person{Address: "x@example.com"} },
		"no host and port":          func(o *email.Options) { o.Server.Address = "smtp.example.com" },
		"one of User and Password":  func(o *email.Options) { o.Server.Password = "" },
		"is not sent in the clear":  func(o *email.Options) { o.Server.Security = email.Cleartext },
		"Server has no Security 99": func(o *email.Options) { o.Server.Security = 99 },
	} {
		o := options(office, "http://127.0.0.1:1/approve")
		change(&o)
		_, err := email.New(o)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), password)
	}
}

func TestAServerIsSpokenToAsItsSecuritySays(t *testing.T) {
	ask := func(o email.Options) error {
		_, err := channel(t, o).Approve(t.Context(), asktest.Request(t, time.Now(), sre))
		return err
	}
	o := options(open(t, false, false), "http://127.0.0.1:1/approve")
	o.Server.Password = "wrong-wrong-wrong"
	err := ask(o)
	require.ErrorContains(t, err, "does not take the mail: ")
	require.NotContains(t, err.Error(), "wrong-wrong-wrong", "a server that tells the password does not make us tell it")
	o.Server.Password, o.Server.TLS = password, nil
	require.ErrorContains(t, ask(o), "certificate")

	office := open(t, true, false)
	o = options(office, "http://127.0.0.1:1/approve")
	o.Server.Security = email.ImplicitTLS
	require.NoError(t, ask(o))
	require.True(t, letters(t, office, 2)["ann@example.com"].tls)

	office = open(t, false, true)
	o = options(office, "http://127.0.0.1:1/approve")
	require.Error(t, ask(o), "no password goes out in the clear")
	o.Server.User, o.Server.Password = "", ""
	require.NoError(t, ask(o), "to a loopback address TLS is used where it is offered")
	letters(t, office, 2)

	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addresses {
		ip, _, err := net.ParseCIDR(a.String())
		if err != nil || ip.IsLoopback() || ip.To4() == nil {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort(ip.String(), "0"))
		require.NoError(t, err)
		bare := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
			return &session{office: office, conn: c, known: true}, nil
		}))
		go func() { _ = bare.Serve(l) }()
		defer bare.Close()
		o.Server.Address = l.Addr().String()
		require.ErrorContains(t, ask(o), "STARTTLS", "beyond loopback nothing goes without TLS")
		require.Empty(t, office.got())
		o.Server.Security = email.Cleartext
		require.NoError(t, ask(o), "unless it is asked for")
		return
	}
	t.Log("this machine has no address beyond loopback")
}

func TestSendingEndsWithTheContext(t *testing.T) {
	office := open(t, false, false)
	office.hold = make(chan struct{})
	defer close(office.hold)
	c := channel(t, options(office, "http://127.0.0.1:1/approve"))
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(errors.New("decided elsewhere")) })
	begun := time.Now()
	_, err := c.Approve(ctx, asktest.Request(t, time.Now(), sre))
	require.ErrorContains(t, err, "decided elsewhere")
	require.Less(t, time.Since(begun), 5*time.Second)
}

func TestWhatBecameOfAQuestionIsMailedToWhoWasAsked(t *testing.T) {
	office := open(t, false, false)
	c := channel(t, options(office, "http://127.0.0.1:1/approve"))
	asked := time.Now().Add(-6 * time.Minute)
	panel := approval.Panel{Quorum: 2, Approvers: sre.Approvers, Escalation: &approval.Escalation{After: 5 * time.Minute, To: approval.Approvers{Groups: []string{"leads"}}}}
	early := asktest.Request(t, time.Now(), panel)
	early.Receipt = `["ann","bob"]`
	_, err := c.Approve(t.Context(), early)
	require.NoError(t, err)
	require.Empty(t, office.got())

	req := asktest.Request(t, asked, panel)
	req.Receipt = early.Receipt
	tally := approval.NewTally(req)
	ids := map[string]string{}
	require.NoError(t, c.Update(t.Context(), req, tally.Standing(time.Now())))
	for to, l := range letters(t, office, 1) {
		require.Equal(t, "eve@example.com", to, "an escalation asks who is asked by it")
		require.Contains(t, l.subject(t), "Approve step 4")
		ids[to] = l.header.Get("Message-ID")
		linkOf(t, l)
	}
	_, err = tally.Cast(approval.Decision{Verdict: approval.Approved, By: "ann", Groups: []string{"sre"}, Digest: req.Digest, Reason: "fine"}, time.Now())
	require.NoError(t, err)
	voted := tally.Standing(time.Now())
	require.NoError(t, c.Update(t.Context(), req, voted))
	all := letters(t, office, 2)
	require.NotContains(t, all, "ann@example.com", "who said yes knows")
	require.Equal(t, "ann said yes: step 4, restart_pod, run run-1", all["bob@example.com"].subject(t))
	require.Contains(t, all["bob@example.com"].text, "still needed: 1 of group sre, group leads")
	require.Equal(t, ids["eve@example.com"], all["eve@example.com"].header.Get("In-Reply-To"))
	require.Equal(t, ids["eve@example.com"], all["eve@example.com"].header.Get("References"))
	_, err = tally.Cast(approval.Decision{Verdict: approval.Approved, By: "eve", Groups: []string{"leads"}, Digest: req.Digest}, time.Now())
	require.NoError(t, err)
	require.NoError(t, c.Update(t.Context(), req, tally.Standing(time.Now())))
	all = letters(t, office, 3)
	require.Equal(t, "Approved by ann, eve: step 4, restart_pod, run run-1", all["ann@example.com"].subject(t))
	require.NotContains(t, all["ann@example.com"].text, "On silence")
	require.NoError(t, c.Update(t.Context(), req, tally.Standing(time.Now())))
	require.NoError(t, c.Update(t.Context(), req, voted))
	voted.Votes = append(voted.Votes, approval.Vote{By: "bob"})
	require.NoError(t, c.Update(t.Context(), req, voted))
	require.Empty(t, office.got(), "nothing is told twice, and nothing old after its end")
}

func TestAMailIsWhatOneCanRead(t *testing.T) {
	office := open(t, false, false)
	c := channel(t, options(office, "http://127.0.0.1:1/approve"))
	_, err := c.Approve(t.Context(), asktest.Request(t, time.Now(), sre))
	require.NoError(t, err)
	l := letters(t, office, 2)["bob@example.com"]
	m, err := mail.ReadMessage(bytes.NewReader([]byte(l.raw)))
	require.NoError(t, err)
	sent, err := m.Header.Date()
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), sent, time.Minute)
	require.Less(t, len(l.raw), 64<<10)
}

// elsewhere makes links to somebody else's pages.
type elsewhere struct{}

func (elsewhere) URL(req *approval.Request, person string, groups ...string) (string, error) {
	if person == "bob" {
		return "", errors.New("no link for bob")
	}
	return "https://pages.example.com/link/" + person + "-" + strings.Join(groups, "-"), nil
}

func TestLinksMayLeadToPagesOfSomebodyElse(t *testing.T) {
	office := open(t, false, false)
	o := options(office, "")
	o.Key, o.Links = nil, elsewhere{}
	c := channel(t, o)
	req := asktest.Request(t, time.Now(), approval.Panel{Approvers: approval.Approvers{People: []string{"ann"}}})
	_, err := c.Approve(t.Context(), req)
	require.NoError(t, err)
	l := letters(t, office, 1)["ann@example.com"]
	require.Contains(t, l.text, "\nhttps://pages.example.com/link/ann-sre\n")
	require.Contains(t, l.html, `href="https://pages.example.com/link/ann-sre"`)
	w := httptest.NewRecorder()
	c.Handler(&decisions{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/link/ann-sre", nil))
	require.Equal(t, http.StatusNotFound, w.Code)
	other := asktest.Request(t, time.Now(), approval.Panel{Approvers: approval.Approvers{People: []string{"bob"}}})
	other.Key = "run-2/rec-004"
	_, err = c.Approve(t.Context(), other)
	require.EqualError(t, err, "email: no link for bob")
}
