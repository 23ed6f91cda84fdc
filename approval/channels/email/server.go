package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/remedykit/remedy/internal/wording"
)

// Security says how a Server is spoken to.
type Security uint8

const (
	// StartTLS begins in the clear, and sends nothing before TLS is on. It is the default, except to a loopback address, where TLS is used
	// when the server offers it.
	StartTLS Security = iota
	// ImplicitTLS begins with TLS, mostly on port 465.
	ImplicitTLS
	// Cleartext uses no TLS. Whoever sees the mails on their way can decide in the name of who gets them. A password is not sent.
	Cleartext
)

// A Server takes mails by SMTP.
type Server struct {
	// Address is its host and port, such as smtp.example.com:587. Required.
	Address string
	// User and Password log in. Empty: nobody does.
	User, Password string
	// Security defaults to StartTLS.
	Security Security
	// TLS may name the authorities that vouch for the server. Defaults to those of the system, and TLS 1.2 or newer.
	TLS *tls.Config
}

func (s *Server) check() error {
	host, port, err := net.SplitHostPort(s.Address)
	n, err2 := strconv.Atoi(port)
	switch {
	case err != nil || err2 != nil || host == "" || n < 1 || n > 65535:
		return fmt.Errorf("email: the Address %q of Server is no host and port, such as smtp.example.com:587", s.Address)
	case s.Security > Cleartext:
		return fmt.Errorf("email: Server has no Security %d", s.Security)
	case s.Security == Cleartext && s.User != "":
		return errors.New("email: Server has a User and Security Cleartext: a password is not sent in the clear, use StartTLS or ImplicitTLS")
	case (s.User == "") != (s.Password == ""):
		return errors.New("email: Server has one of User and Password: it takes both or none")
	}
	return nil
}

// client returns one for one connection, which ends with the context.
func (s *Server) client(ctx context.Context) (client *gomail.Client, stop func(), err error) {
	host, port, _ := net.SplitHostPort(s.Address)
	number, _ := strconv.Atoi(port)
	config := &tls.Config{}
	if s.TLS != nil {
		config = s.TLS.Clone()
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	if config.ServerName == "" {
		config.ServerName = host
	}
	policy := gomail.TLSMandatory
	switch {
	case s.Security != StartTLS:
		policy = gomail.NoTLS
	case loopback(host):
		policy = gomail.TLSOpportunistic
	}
	stop = func() {}
	dial := func(dialing context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		connect := d.DialContext
		if s.Security == ImplicitTLS {
			connect = (&tls.Dialer{Config: config}).DialContext
		}
		conn, err := connect(dialing, network, address)
		if err == nil {
			end := context.AfterFunc(ctx, func() { _ = conn.Close() })
			stop = func() { end(); _ = conn.Close() }
		}
		return conn, err
	}
	options := []gomail.Option{
		gomail.WithPort(number), gomail.WithTLSPolicy(policy), gomail.WithTLSConfig(config), gomail.WithDialContextFunc(dial), gomail.WithoutNoop(),
	}
	if until, ok := ctx.Deadline(); ok {
		options = append(options, gomail.WithTimeout(max(time.Millisecond, time.Until(until))))
	}
	if s.User != "" {
		options = append(options, gomail.WithUsername(s.User), gomail.WithPassword(s.Password),
			gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin))
	}
	client, err = gomail.NewClient(host, options...)
	return client, func() { stop() }, err
}

// deliver sends mails over one connection, and tells which of them the server has taken, or may have.
func (c *Channel) deliver(ctx context.Context, mails []message, taken func(m message, surely bool)) error {
	if len(mails) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	client, stop, err := c.server.client(ctx)
	defer func() { stop() }()
	if err != nil {
		return c.failed(ctx, "", err)
	}
	conn, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return c.failed(ctx, "", err)
	}
	var errs []error
	for _, m := range mails {
		msg, err := c.compose(m)
		if err == nil {
			err = client.SendWithSMTPClient(conn, msg)
		}
		said, ok := errors.AsType[*gomail.SendError](err)
		if err == nil || ok && said.ErrorCode() == 0 { // 0: it was not the server that refused
			taken(m, err == nil)
		}
		if err != nil {
			errs = append(errs, c.failed(ctx, m.person, err))
		}
	}
	_ = client.CloseWithSMTPClient(conn) // all that was taken is
	return errors.Join(errs...)
}

// failed words an error without what logs in.
func (c *Channel) failed(ctx context.Context, person string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("email: %s took too long, or nobody needs the mail any more: %w", c.server.Address, context.Cause(ctx))
	}
	text := err.Error()
	if p := c.server.Password; p != "" {
		text = strings.ReplaceAll(text, p, "(password)")
	}
	whom := ""
	if person != "" {
		whom = " for " + person
	}
	return fmt.Errorf("email: %s does not take the mail%s: %s", c.server.Address, whom, wording.Visible(wording.Cut(text, 500)))
}
