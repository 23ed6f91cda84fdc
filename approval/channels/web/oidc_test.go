package web_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"
	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/channels/web"
	"github.com/remedykit/remedy/executor"
)

// A provider is an OpenID Connect provider on loopback: it gives codes for one use, holds them to their PKCE challenge, and
// signs ID tokens.
type provider struct {
	url  string
	keys *oidctest.Server
	key  *rsa.PrivateKey

	mu     sync.Mutex // guards what follows
	codes  map[string]url.Values
	asked  int            // to sign somebody in
	claims map[string]any // of the person who signs in
	sign   func(claims string) string
}

const clientID, clientSecret = "remedy", "s3cret"

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p := &provider{
		key: key, codes: map[string]url.Values{}, claims: map[string]any{"email": "ann@example.com", "email_verified": true, "groups": []string{"sre", "lunch"}},
		keys: &oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: key.Public(), KeyID: "one", Algorithm: "RS256"}}},
	}
	p.sign = func(claims string) string { return oidctest.SignIDToken(key, "one", "RS256", claims) }
	server := httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(server.Close)
	// For a browser, localhost is another site than 127.0.0.1.
	p.url = strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	p.keys.SetIssuer(p.url)
	return p
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch r.URL.Path {
	case "/auth":
		q := r.URL.Query()
		if q.Get("client_id") != clientID || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("nonce") == "" {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		p.asked++
		code := rand.Text()
		p.codes[code] = q
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+fields("code", code, "state", q.Get("state")).Encode(), http.StatusSeeOther)
	case "/token":
		id, secret, _ := r.BasicAuth()
		asked := p.codes[r.PostFormValue("code")]
		delete(p.codes, r.PostFormValue("code"))
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if asked == nil || id != clientID || secret != clientSecret || asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) ||
			asked.Get("redirect_uri") != r.PostFormValue("redirect_uri") {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		claims := map[string]any{"iss": p.url, "aud": clientID, "sub": "1", "nonce": asked.Get("nonce"), "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix()}
		maps.Copy(claims, p.claims)
		text, _ := json.Marshal(claims)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": p.sign(string(text))})
	case "/mail":
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<a href="%s">decide</a>`, r.URL.Query().Get("to"))
	default:
		p.keys.ServeHTTP(w, r)
	}
}

func (p *provider) options() *web.OIDC {
	return &web.OIDC{Issuer: p.url, ClientID: clientID, ClientSecret: clientSecret, Groups: []string{"sre"}}
}

func signInSite(t *testing.T, p *provider, change func(o *web.OIDC)) *site {
	t.Helper()
	return newSite(t, setup{
		options: func(o *web.Options) {
			o.Proxy, o.OIDC = nil, p.options()
			if change != nil {
				change(o.OIDC)
			}
		},
		config: func(c *executor.Config) {
			policy := *approval.IncidentTable()
			policy.Approvers = approval.Approvers{Groups: []string{"sre"}}
			c.Policy = &policy
		},
	})
}

// visitor is a browser with cookies of its own that follows redirects as far as a test wants.
func visitor(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &browser{t: t, http: &http.Client{
		Jar: jar, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// signIn goes from a page to the provider and back, and returns what the page of the callback says.
func (b *browser) signIn(page string) reply {
	b.t.Helper()
	got := b.get(page)
	require.Equal(b.t, http.StatusSeeOther, got.status, got.body)
	got = b.get(got.header.Get("Location"))
	require.Equal(b.t, http.StatusSeeOther, got.status, got.body)
	return b.get(got.header.Get("Location"))
}

func TestSigningInLeadsBackToTheQuestionAlsoFromAnotherSite(t *testing.T) {
	p := newProvider(t)
	s := signInSite(t, p, nil)
	run, req := s.start("r", oomkill(t))
	ctx := chromium(t)
	mail := p.url + "/mail?" + fields("to", s.channel.URL(req)).Encode()
	for range 2 { // the second time there is a session, whose strict cookie another site's link does not bring
		do(t, ctx, chromedp.Navigate(mail), chromedp.Click(chromedp.CSS("a")), chromedp.WaitVisible(chromedp.CSS("button.approve")))
		require.Contains(t, get(t, ctx, chromedp.Text(chromedp.CSS(".who"))), "ann@example.com")
		require.Empty(t, get(t, ctx, chromedp.Evaluate[string](`document.cookie`)), "no script sees a cookie")
	}
	p.mu.Lock()
	require.Equal(t, 1, p.asked)
	p.mu.Unlock()
	require.EqualValues(t, http.StatusOK, submit(t, ctx, "button.approve"))
	do(t, ctx, says("#decision", "Approved by ann@example.com"))
	gate := ended(t, run).Step(3).Gate
	require.Equal(t, "ann@example.com", gate.By)
	require.Equal(t, []string{"sre"}, gate.Votes[0].Groups)
}

func TestSessionsAreBoundAndEnd(t *testing.T) {
	p := newProvider(t)
	s := signInSite(t, p, func(o *web.OIDC) { o.Session = 2 * time.Second })
	s.start("r", oomkill(t))
	b := visitor(t)
	back := b.signIn(s.url + "/runs/r")
	require.Equal(t, http.StatusOK, back.status, back.body)
	cookies := strings.Join(back.header.Values("Set-Cookie"), "\n")
	require.Regexp(t, `(?m)^remedy=[^;]+; Path=/; Max-Age=2; HttpOnly; SameSite=Strict$`, cookies)
	page := b.get(s.url + "/runs/r")
	require.Equal(t, http.StatusOK, page.status)
	good := with(form(page.body), "verdict", "approve")

	other := visitor(t)
	other.signIn(s.url + "/runs/r")
	require.Equal(t, http.StatusForbidden, other.post(s.url+"/runs/r/decision", good).status, "the form of another session of the same person")
	thief := visitor(t)
	at, err := url.Parse(s.url)
	require.NoError(t, err)
	value := b.http.Jar.Cookies(at)[0].Value
	for _, forged := range []string{value[:len(value)-1], "x" + value, strings.Replace(value, ".", "..", 1), ""} {
		thief.http.Jar.SetCookies(at, []*http.Cookie{{Name: "remedy", Value: forged}})
		require.Equal(t, http.StatusSeeOther, thief.get(s.url+"/runs/r").status)
		require.Equal(t, http.StatusUnauthorized, thief.post(s.url+"/runs/r/decision", good).status)
	}
	require.Eventually(t, func() bool {
		b.http.Jar.SetCookies(at, []*http.Cookie{{Name: "remedy", Value: value}}) // though a browser would have dropped it
		return b.get(s.url+"/runs/r").status == http.StatusSeeOther
	}, 10*time.Second, 100*time.Millisecond, "the session ends")
	expired := b.post(s.url+"/runs/r/decision", good)
	require.Equal(t, http.StatusUnauthorized, expired.status)
	require.Contains(t, expired.body, "You are not signed in any more")
	require.Empty(t, s.ex.Lookup("r").Snapshot().Step(3).Gate.Votes)
}

func TestSignInsThatAreNotSoundAreRefused(t *testing.T) {
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	none := func(_ *provider, claims string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "."
	}
	hour := time.Now().Add(time.Hour).Unix()
	for name, c := range map[string]struct {
		claims map[string]any
		sign   func(p *provider, claims string) string
		says   string
	}{
		"signed by a stranger": {sign: func(_ *provider, c string) string { return oidctest.SignIDToken(stranger, "one", "RS256", c) }, says: "not one for these pages"},
		"signed by nobody":     {sign: none, says: "not one for these pages"},
		"signed with the public key": {sign: func(p *provider, c string) string {
			return oidctest.SignIDToken(x509.MarshalPKCS1PublicKey(&p.key.PublicKey), "one", "HS256", c)
		}, says: "not one for these pages"},
		"for somebody else":     {claims: map[string]any{"aud": "other"}, says: "not one for these pages"},
		"from another issuer":   {claims: map[string]any{"iss": "https://evil.example"}, says: "not one for these pages"},
		"expired":               {claims: map[string]any{"exp": time.Now().Add(-time.Second).Unix()}, says: "is not valid now"},
		"not valid yet":         {claims: map[string]any{"nbf": hour, "exp": hour + 60}, says: "is not valid now"},
		"another sign-in's":     {claims: map[string]any{"nonce": "other"}, says: "belongs to another sign-in"},
		"without a nonce":       {claims: map[string]any{"nonce": ""}, says: "belongs to another sign-in"},
		"an unverified address": {claims: map[string]any{"email_verified": false}, says: "has not verified your e-mail address"},
		"no address":            {claims: map[string]any{"email": ""}, says: "needs the claim email"},
		"a name that hides":     {claims: map[string]any{"email": "an\u200bn@example.com"}, says: "needs the claim email"},
		"no token":              {sign: func(*provider, string) string { return "" }, says: "not one for these pages"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			maps.Copy(p.claims, c.claims)
			if c.sign != nil {
				p.sign = func(claims string) string { return c.sign(p, claims) }
			}
			s := signInSite(t, p, nil)
			b := visitor(t)
			got := b.signIn(s.url + "/")
			require.Equal(t, http.StatusForbidden, got.status, got.body)
			require.Contains(t, got.body, c.says)
			require.Equal(t, http.StatusSeeOther, b.get(s.url+"/").status, "nobody is signed in")
		})
	}
}

func TestACallbackIsGoodOnceAndForItsOwnBrowser(t *testing.T) {
	p := newProvider(t)
	s := signInSite(t, p, nil)
	b := visitor(t)
	begin := b.get(s.url + "/")
	back := b.get(begin.header.Get("Location")).header.Get("Location")
	stolen := visitor(t).get(back)
	require.Equal(t, http.StatusForbidden, stolen.status, "the code of another browser")
	q, err := url.Parse(back)
	require.NoError(t, err)
	forged := *q
	forged.RawQuery = with(q.Query(), "state", "other").Encode()

	wrong := visitor(t)
	wrong.get(s.url + "/")
	require.Contains(t, wrong.get(forged.String()).body, "belongs to another sign-in")
	fixed := visitor(t) // signs in as itself and is made to use the attacker's code: the verifier is another
	state := func() string {
		at, err := url.Parse(fixed.get(s.url + "/").header.Get("Location"))
		require.NoError(t, err)
		return at.Query().Get("state")
	}()
	forged.RawQuery = with(q.Query(), "state", state).Encode()
	require.Contains(t, fixed.get(forged.String()).body, "did not take its own code")

	begin = b.get(s.url + "/")
	back = b.get(begin.header.Get("Location")).header.Get("Location")
	require.Equal(t, http.StatusOK, b.get(back).status)
	require.Equal(t, http.StatusForbidden, b.get(back).status, "a replay")
	require.Equal(t, http.StatusForbidden, visitor(t).get(s.url+"/oidc/callback").status)
}

func TestAProviderThatDoesNotAnswerIsSaid(t *testing.T) {
	p := newProvider(t)
	s := signInSite(t, p, func(o *web.OIDC) { o.Issuer = "http://127.0.0.1:1" })
	got := visitor(t).get(s.url + "/")
	require.Equal(t, http.StatusBadGateway, got.status)
	require.Contains(t, got.body, "The identity provider does not answer")
}

func TestCookiesOfAnHTTPSPageAreBoundToItsHost(t *testing.T) {
	p := newProvider(t)
	s := newSite(t, setup{noServer: true, options: func(o *web.Options) { o.URL, o.Proxy, o.OIDC = "https://approvals.example.com", nil, p.options() }})
	got := s.ask(http.MethodGet, "https://approvals.example.com/", nil)
	require.Regexp(t, `^__Host-remedy-login=[^;]+; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax$`, got.Header().Get("Set-Cookie"))
	require.NotEmpty(t, got.Header().Get("Strict-Transport-Security"))
	at, err := url.Parse(got.Header().Get("Location"))
	require.NoError(t, err)
	require.Equal(t, "https://approvals.example.com/oidc/callback", at.Query().Get("redirect_uri"))
	require.Equal(t, "openid email profile", at.Query().Get("scope"))
}
