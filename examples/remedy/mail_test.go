package main

import (
	"context"
	"crypto/tls"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/notify"
)

// A mailServer keeps what it is sent, from who has logged in.
type mailServer struct {
	mu   sync.Mutex // guards what follows
	from string
	to   []string
	mail string
	busy int // how many more messages it puts off
}

func (m *mailServer) NewSession(*smtp.Conn) (smtp.Session, error) {
	return &mailSession{server: m}, nil
}

type mailSession struct {
	server *mailServer
	known  bool
}

func (s *mailSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if s.known = user == "remedy" && password == "hunter2"; !s.known {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func (s *mailSession) Mail(from string, _ *smtp.MailOptions) error {
	if !s.known {
		return smtp.ErrAuthRequired
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if s.server.busy > 0 {
		s.server.busy--
		return &smtp.SMTPError{Code: 451, Message: "later"}
	}
	s.server.from = from
	return nil
}

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.server.to = append(s.server.to, to)
	return nil
}

func (s *mailSession) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	s.server.mail = string(data)
	return err
}

func (*mailSession) Reset() {}

func (*mailSession) Logout() error { return nil }

func TestAMailServerTakesANotice(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate, which is for example.com and 127.0.0.1
	defer web.Close()
	box := &mailServer{busy: 2}
	server := smtp.NewServer(box)
	server.TLSConfig = &tls.Config{Certificates: web.TLS.Certificates}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() {
		require.NoError(t, server.Close())
		require.NoError(t, <-served)
	}()

	t.Setenv("REMEDY_TEST_MAIL", "hunter2")
	sender, err := destination{SMTP: l.Addr().String(), From: "Remedy <remedy@example.com>", To: []string{"oncall@example.com", "dba@example.com"}, User: "remedy", PasswordEnv: "REMEDY_TEST_MAIL"}.sender()
	require.NoError(t, err)
	mail := sender.(notify.SMTP)
	mail.TLS = &tls.Config{RootCAs: web.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	n, err := notify.New(notify.Options{Default: mail})
	require.NoError(t, err)
	tell := func(text string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := n.Handlers()["notify_only"].Execute(ctx, &actions.Request{Run: "r", Task: &actions.Task{Step: "s", Action: "notify_only",
			Parameters: actions.NewParameters(map[string]any{"message": text})}})
		return err
	}
	require.NoError(t, tell("Größer\r\n.\r\nRCPT TO:<all@example.com>\r\nBcc: all@example.com"), "it was put off twice, and then taken")
	require.Equal(t, "remedy@example.com", box.from)
	require.Equal(t, []string{"oncall@example.com", "dba@example.com"}, box.to, "a message cannot add anybody")
	m, err := netmail.ReadMessage(strings.NewReader(box.mail))
	require.NoError(t, err)
	require.Empty(t, m.Header.Get("Bcc"))
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, "[remedy] Größer", subject)
	require.Contains(t, box.mail, "RCPT TO:<all@example.com>", "all of it is text")

	mail.Password = "wrong-password"
	n, err = notify.New(notify.Options{Default: mail})
	require.NoError(t, err)
	err = tell("x")
	require.Error(t, err)
	require.False(t, actions.IsTransient(err))
	require.NotContains(t, err.Error(), "wrong-password")
}
