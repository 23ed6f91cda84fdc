package email_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

const user, password = "remedy", "hunter2-hunter2"

// A postOffice is an SMTP server with STARTTLS and AUTH, which keeps what it takes.
type postOffice struct {
	address string
	roots   *x509.CertPool

	mu     sync.Mutex
	mails  []letter
	refuse map[string]error // by recipient
	hold   chan struct{}    // DATA waits for it when not nil
}

// A letter is a mail as it arrived.
type letter struct {
	to         string
	tls        bool
	header     mail.Header
	raw        string
	text, html string
}

type session struct {
	office *postOffice
	conn   *smtp.Conn
	known  bool
	to     []string
}

// open opens a post office. With TLS at once when implicit is set, without any TLS when bare is.
func open(t *testing.T, implicit, bare bool) *postOffice {
	t.Helper()
	lender := httptest.NewTLSServer(nil) // for its certificate for 127.0.0.1
	roots := x509.NewCertPool()
	roots.AddCert(lender.Certificate())
	config := &tls.Config{Certificates: lender.TLS.Certificates}
	lender.Close()
	p := &postOffice{roots: roots, refuse: map[string]error{}}
	s := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{office: p, conn: c, known: bare}, nil
	}))
	s.Domain, s.ReadTimeout, s.WriteTimeout, s.MaxLineLength = "post.example.com", 10*time.Second, 10*time.Second, 998
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p.address = l.Addr().String()
	if implicit {
		l = tls.NewListener(l, config)
	} else if !bare {
		s.TLSConfig = config
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return p
}

func (p *postOffice) tls() *tls.Config { return &tls.Config{RootCAs: p.roots} }

func (p *postOffice) refuses(to string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse[to] = err
}

// got returns what arrived since it was asked last.
func (p *postOffice) got() []letter {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.mails
	p.mails = nil
	return all
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, u, pw string) error {
		if u != user || pw != password {
			return errors.New("no such user, or not with " + pw) // a server that tells too much
		}
		s.known = true
		return nil
	}), nil
}

func (s *session) Reset()        { s.to = nil }
func (s *session) Logout() error { return nil }

func (s *session) Mail(string, *smtp.MailOptions) error {
	if !s.known {
		return &smtp.SMTPError{Code: 530, Message: "log in first"}
	}
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.office.mu.Lock()
	defer s.office.mu.Unlock()
	s.to = append(s.to, to)
	return s.office.refuse[to]
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	l, err := read(string(raw))
	if err != nil {
		return err
	}
	_, l.tls = s.conn.TLSConnectionState()
	if len(s.to) != 1 {
		return errors.New("a mail goes to one person")
	}
	l.to = s.to[0]
	s.office.mu.Lock()
	hold := s.office.hold
	s.office.mu.Unlock()
	if hold != nil {
		<-hold
	}
	s.office.mu.Lock()
	defer s.office.mu.Unlock()
	s.office.mails = append(s.office.mails, l)
	return nil
}

// read parses a mail, and refuses one whose lines are not as they must be.
func read(raw string) (letter, error) {
	for line := range strings.SplitSeq(raw, "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") {
			return letter{}, errors.New("a line is too long, or has a bare line end")
		}
	}
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		return letter{}, err
	}
	l := letter{header: m.Header, raw: raw}
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		return letter{}, errors.New("the mail is " + kind)
	}
	parts := multipart.NewReader(m.Body, parameters["boundary"])
	for _, part := range []*string{&l.text, &l.html} {
		p, err := parts.NextRawPart()
		if err != nil {
			return letter{}, err
		}
		data, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			return letter{}, err
		}
		*part = strings.ReplaceAll(string(data), "\r\n", "\n")
	}
	if _, err := parts.NextRawPart(); err != io.EOF {
		return letter{}, errors.New("the mail has more parts")
	}
	return l, nil
}

func (l letter) subject(t *testing.T) string {
	t.Helper()
	s, err := new(mime.WordDecoder).DecodeHeader(l.header.Get("Subject"))
	require.NoError(t, err)
	return s
}
