package notify_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/artifact"
	"github.com/remedykit/remedy/actions/notify"
)

func request(parameters map[string]any) *actions.Request {
	return &actions.Request{Task: &actions.Task{Step: "s", Action: "notify_only", Description: "It is mended", Parameters: actions.NewParameters(parameters)}, Run: "r", Attempt: 1}
}

// soon ends before a message gets through that is put off.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func handlerOf(t *testing.T, o notify.Options) actions.ActionHandler {
	t.Helper()
	n, err := notify.New(o)
	require.NoError(t, err)
	return n.Handlers()["notify_only"]
}

func TestAWebhookGetsASignedMessage(t *testing.T) {
	var got notify.Message
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		at, sum, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Remedy-Signature"), "t="), ",v1=")
		mac := hmac.New(sha256.New, []byte("key"))
		mac.Write([]byte(at + "." + string(body)))
		if hex.EncodeToString(mac.Sum(nil)) != sum || r.Header.Get("Idempotency-Key") != "r/s" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_ = json.Unmarshal(body, &got)
	}))
	defer s.Close()
	h := handlerOf(t, notify.Options{Senders: map[string]notify.Sender{"jira": notify.Webhook{URL: s.URL, Secret: []byte("key")}}})
	req := request(map[string]any{"type": "jira", "project": "PAY\r\nX: y", "message": "a\x1b[31mb\u202e\nc", "attachments": []string{"heap_dump_rec-001"}})
	p, err := h.(actions.DryRunner).DryRun(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, []string{"tell jira: a[31mb"}, p.Change)
	require.Empty(t, got, "a dry run tells nobody")
	_, err = h.Execute(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, "a[31mb\nc", got.Text)
	require.Equal(t, "PAY  X: y", got.Project)
	require.Equal(t, []string{"heap_dump_rec-001"}, got.Attachments)
	_, err = h.Execute(t.Context(), request(nil))
	require.ErrorContains(t, err, "there are [jira]")
	_, err = notify.New(notify.Options{})
	require.ErrorContains(t, err, "has no sender")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = h.Execute(ctx, req)
	require.ErrorIs(t, err, context.Canceled)
}

func TestSlackSeesNoMentionAndNoLink(t *testing.T) {
	var got map[string]any
	answer := `{"ok":true}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = nil
		if r.Header.Get("Authorization") != "Bearer xoxb" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_ = json.NewDecoder(r.Body).Decode(&got)
		fmt.Fprint(w, answer)
	}))
	defer s.Close()
	h := handlerOf(t, notify.Options{Default: notify.Slack{URL: s.URL, Token: "xoxb", Channel: "C1"}})
	_, err := h.Execute(t.Context(), request(map[string]any{"message": "<!channel> <http://evil|click>" + strings.Repeat("x", 1<<20)}))
	require.NoError(t, err)
	require.Equal(t, "C1", got["channel"])
	require.NotContains(t, got["text"], "<")
	for _, b := range got["blocks"].([]any) {
		block := b.(map[string]any)
		texts := []any{block["text"]}
		if elements, ok := block["elements"].([]any); ok {
			texts = elements
		}
		for _, text := range texts {
			m := text.(map[string]any)
			require.Equal(t, "plain_text", m["type"])
			most := map[string]int{"header": 150, "section": 3000, "context": 3000}[block["type"].(string)]
			require.LessOrEqual(t, len([]rune(m["text"].(string))), most)
		}
	}
	answer = `{"ok":false,"error":"channel_not_found"}`
	_, err = h.Execute(t.Context(), request(nil))
	require.EqualError(t, err, "notify: slack does not take the message: channel_not_found: set Channel to the id of one that the bot is in")
	require.False(t, actions.IsTransient(err))
	answer = `{"ok":false,"error":"ratelimited"}`
	_, err = h.Execute(soon(t), request(nil))
	require.True(t, actions.IsTransient(err))
}

func TestErrorsAreClassedAndTellNoAddress(t *testing.T) {
	status := 503
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "9")
		w.WriteHeader(status)
	}))
	h := handlerOf(t, notify.Options{Default: notify.Webhook{URL: s.URL + "/T00/secret"}})
	_, err := h.Execute(soon(t), request(nil))
	var e *actions.HandlerError
	require.ErrorAs(t, err, &e)
	require.Equal(t, 9*time.Second, e.RetryAfter)
	status = 404
	_, err = h.Execute(t.Context(), request(nil))
	require.False(t, actions.IsTransient(err))
	s.Close()
	_, err = h.Execute(soon(t), request(nil))
	require.True(t, actions.IsTransient(err))
	require.NotContains(t, err.Error(), "secret")
	_, err = handlerOf(t, notify.Options{Default: notify.Webhook{URL: "::secret"}}).Execute(t.Context(), request(nil))
	require.EqualError(t, err, "notify: the URL of the webhook is none: set it to an http or https address")
}

func TestAnOutageKeepsNothingFromPeople(t *testing.T) {
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 4 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	_, err := handlerOf(t, notify.Options{Default: notify.Webhook{URL: s.URL}}).Execute(t.Context(), request(nil))
	require.NoError(t, err)
	require.EqualValues(t, 4, asked.Load())
}

func TestARedirectIsNoDelivery(t *testing.T) {
	var asked atomic.Int64
	login := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer login.Close()
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect} {
		s := httptest.NewServer(http.RedirectHandler(login.URL, status))
		defer s.Close()
		for _, sender := range []notify.Sender{notify.Webhook{URL: s.URL, Client: s.Client()}, notify.Slack{URL: s.URL}} {
			_, err := handlerOf(t, notify.Options{Default: sender}).Execute(t.Context(), request(nil))
			require.ErrorContains(t, err, "a redirect is not followed")
			require.False(t, actions.IsTransient(err))
		}
	}
	require.Zero(t, asked.Load(), "the message goes where the site says, and nowhere else")
}

func TestAMessageOfNothingButMarksStillSaysSomething(t *testing.T) {
	var got notify.Message
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _ = json.NewDecoder(r.Body).Decode(&got) }))
	defer s.Close()
	_, err := handlerOf(t, notify.Options{Default: notify.Webhook{URL: s.URL}}).Execute(t.Context(), request(map[string]any{"message": "\u202e\u200b\n"}))
	require.NoError(t, err)
	require.Equal(t, "It is mended", got.Text)
	require.Equal(t, "It is mended", got.Title)
}

// A mailbox is a server that speaks SMTP with STARTTLS and a login.
type mailbox struct {
	address string
	config  *tls.Config
	got     chan string
	// answer is a func(line string) string: what is said to a line, to "" for a connection, and to a message after a new line; ""
	// for what is usual.
	answer atomic.Value
}

// hush is an answer that never comes.
const hush = "hush"

func (m *mailbox) answers(f func(line string) string) { m.answer.Store(f) }

func (m *mailbox) refuses(word, with string) {
	m.answers(func(line string) string {
		if strings.HasPrefix(line, word) {
			return with
		}
		return ""
	})
}

func newMailbox(t *testing.T) *mailbox {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	m := &mailbox{address: l.Addr().String(), config: &tls.Config{RootCAs: roots}, got: make(chan string, 4)}
	server := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go m.serve(conn, server)
		}
	}()
	return m
}

func (m *mailbox) serve(conn net.Conn, config *tls.Config) {
	defer func() { conn.Close() }()
	r := bufio.NewReader(conn)
	secure, known := false, false
	// asked tells whether a line is answered as the test wants it.
	asked := func(line string) bool {
		f, _ := m.answer.Load().(func(string) string)
		if f == nil {
			return false
		}
		s := f(line)
		if s == hush {
			_, _ = io.Copy(io.Discard, r)
		} else if s != "" {
			fmt.Fprintf(conn, "%s\r\n", s)
		}
		return s != ""
	}
	say := func(s string) { fmt.Fprintf(conn, "%s\r\n", s) }
	if !asked("") {
		say("220 ready")
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if asked(strings.TrimSpace(line)) {
			continue
		}
		switch word := strings.ToUpper(strings.Fields(line + " x")[0]); {
		case word == "EHLO" && !secure:
			say("250-here\r\n250 STARTTLS")
		case word == "EHLO":
			say("250-here\r\n250 AUTH PLAIN")
		case word == "STARTTLS":
			say("220 go on")
			conn, secure = tls.Server(conn, config), true
			r = bufio.NewReader(conn)
		case word == "AUTH":
			data, _ := base64.StdEncoding.DecodeString(strings.Fields(line)[2])
			if known = string(data) == "\x00remedy\x00hunter2"; known {
				say("235 welcome")
			} else {
				say("535 who are you?")
			}
		case word == "MAIL" && !known:
			say("530 log in first")
		case word == "DATA":
			say("354 go on")
			var b strings.Builder
			for line, err = r.ReadString('\n'); err == nil && line != ".\r\n"; line, err = r.ReadString('\n') {
				b.WriteString(strings.TrimPrefix(line, "."))
			}
			if asked("\n" + b.String()) {
				continue
			}
			m.got <- b.String()
			say("250 delivered")
		default:
			say("250 fine")
		}
	}
}

func TestAMailIsPlainTextWithItsAttachments(t *testing.T) {
	box := newMailbox(t)
	store := artifact.Folder(t.TempDir())
	_, err := store.Put(t.Context(), "r", "heap_dump_rec-001", strings.NewReader(strings.Repeat("dump", 100)))
	require.NoError(t, err)
	sender := notify.SMTP{Address: box.address, From: "Remedy <remedy@example.com>", To: []string{"oncall@example.com"}, User: "remedy", Password: "hunter2", TLS: box.config}
	h := handlerOf(t, notify.Options{Default: sender, Artifacts: store})
	req := request(map[string]any{"message": "Grüße\r\nBcc: all@example.com\n<b>bold</b>", "attachments": []string{"heap_dump_rec-001"}})
	_, err = h.Execute(t.Context(), req)
	require.NoError(t, err)
	m, err := mail.ReadMessage(strings.NewReader(<-box.got))
	require.NoError(t, err)
	require.Empty(t, m.Header.Get("Bcc"))
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, "[remedy] Grüße", subject)
	_, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	parts := multipart.NewReader(m.Body, parameters["boundary"])
	text, err := parts.NextPart()
	require.NoError(t, err)
	data, err := io.ReadAll(text)
	require.NoError(t, err)
	require.Equal(t, "Grüße\r\nBcc: all@example.com\r\n<b>bold</b>\r\n\r\n-- \r\nrun r, step s\r\nattachments heap_dump_rec-001\r\n", strings.ReplaceAll(string(data), "Grüße \r\n", "Grüße\r\n"))
	dump, err := parts.NextPart()
	require.NoError(t, err)
	require.Equal(t, "heap_dump_rec-001", dump.FileName())
	data, err = io.ReadAll(base64.NewDecoder(base64.StdEncoding, dump))
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("dump", 100), string(data))

	lacking := request(map[string]any{"message": "Look", "attachments": []string{"nothing_rec-002"}})
	_, err = h.Execute(t.Context(), lacking)
	require.NoError(t, err, "people are told without it")
	require.Contains(t, <-box.got, "nothing_rec-002 is not attached: its step has left nothing")

	_, err = h.Execute(t.Context(), req)
	require.NoError(t, err)
	again, err := mail.ReadMessage(strings.NewReader(<-box.got))
	require.NoError(t, err)
	require.Equal(t, m.Header.Get("Message-ID"), again.Header.Get("Message-ID"))

	box.refuses("MAIL", "450 later")
	later, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	_, err = h.Execute(later, req)
	require.ErrorContains(t, err, "450")
	require.True(t, actions.IsTransient(err))
	box.refuses("MAIL", "550 never")
	_, err = h.Execute(t.Context(), req)
	require.ErrorContains(t, err, "550")
	require.False(t, actions.IsTransient(err))
	box = newMailbox(t)
	sender.Address, sender.TLS = box.address, box.config
	sender.Password = "wrong"
	_, err = handlerOf(t, notify.Options{Default: sender}).Execute(t.Context(), req)
	require.ErrorContains(t, err, "who are you")
	require.NotContains(t, err.Error(), "wrong")
	sender.TLS = &tls.Config{}
	_, err = handlerOf(t, notify.Options{Default: sender}).Execute(t.Context(), req)
	require.ErrorContains(t, err, "certificate")
	require.False(t, actions.IsTransient(err), "it will not be trusted later")
	for _, bad := range []notify.SMTP{{From: "nobody"}, {From: "a@b.c", To: []string{"x\r\nBcc: y"}}, {From: "a@b.c"}} {
		_, err = handlerOf(t, notify.Options{Default: bad}).Execute(t.Context(), req)
		require.Error(t, err)
		require.False(t, actions.IsTransient(err))
	}
}
