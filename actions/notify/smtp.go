package notify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/artifact"
	"github.com/remedykit/remedy/internal/directclient"
)

// An SMTP sends messages by e-mail, in plain text.
type SMTP struct {
	// Address is the server's host and port.
	Address string
	// From and To are addresses such as "Remedy <remedy@example.com>".
	From string
	To   []string
	// User and Password log in; they are sent only over TLS. Empty: nobody does.
	User, Password string
	// TLS is used for STARTTLS, which is required when it is set; else it is used where the server offers it.
	TLS *tls.Config
}

// maxAttached is how large an attachment may be; a larger one is named.
const maxAttached = 5 << 20

// Send delivers the message. Its Message-ID is made from its key, so that a second one can be known.
func (s SMTP) Send(ctx context.Context, m *Message) error {
	from, err := mail.ParseAddress(s.From)
	if err != nil {
		return actions.Permanent(fmt.Errorf("notify: From %q is no e-mail address", s.From))
	}
	var to []*mail.Address
	for _, one := range s.To {
		a, err := mail.ParseAddress(one)
		if err != nil {
			return actions.Permanent(fmt.Errorf("notify: To %q is no e-mail address", one))
		}
		to = append(to, a)
	}
	if len(to) == 0 {
		return actions.Permanent(errors.New("notify: the e-mail has nobody to go to"))
	}
	data, err := s.compose(ctx, m, from, to)
	if err != nil {
		return err
	}
	return s.deliver(ctx, from, to, data)
}

func (s SMTP) compose(ctx context.Context, m *Message, from *mail.Address, to []*mail.Address) ([]byte, error) {
	var b bytes.Buffer
	body := multipart.NewWriter(&b)
	files, missing, err := m.files(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(to))
	for i, a := range to {
		names[i] = a.String()
	}
	sum := sha256.Sum256([]byte(m.Key))
	_, host, _ := strings.Cut(from.Address, "@")
	for _, h := range [][2]string{
		{"From", from.String()}, {"To", strings.Join(names, ", ")}, {"Subject", mime.QEncoding.Encode("utf-8", "[remedy] "+m.Title)},
		{"Date", time.Now().Format(time.RFC1123Z)}, {"Message-ID", "<" + hex.EncodeToString(sum[:16]) + "@" + host + ">"},
		{"MIME-Version", "1.0"}, {"Auto-Submitted", "auto-generated"}, {"Content-Type", `multipart/mixed; boundary="` + body.Boundary() + `"`},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	part, err := body.CreatePart(textproto.MIMEHeader{"Content-Type": {"text/plain; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"}})
	if err != nil {
		return nil, actions.Permanent(err)
	}
	text := quotedprintable.NewWriter(part)
	fmt.Fprintf(text, "%s\n\n-- \n%s\n", m.Text, strings.Join(append(m.facts(), missing...), "\n"))
	if err := text.Close(); err != nil {
		return nil, actions.Permanent(err)
	}
	for _, f := range files {
		if err := f.attach(body); err != nil {
			return nil, actions.Permanent(err)
		}
	}
	if err := body.Close(); err != nil {
		return nil, actions.Permanent(err)
	}
	return b.Bytes(), nil
}

// A file is an artifact that is attached.
type file struct {
	name string
	data []byte
}

// files are the attachments, and why some are missing: people are told without them.
func (m *Message) files(ctx context.Context) (files []file, missing []string, err error) {
	if m.store == nil {
		return nil, nil, nil
	}
	for _, name := range m.Attachments {
		r, err := m.store.Open(ctx, m.Run, name)
		switch {
		case errors.Is(err, artifact.ErrNotFound):
			missing = append(missing, name+" is not attached: its step has left nothing")
			continue
		case err != nil:
			return nil, nil, actions.Permanent(err)
		}
		data, err := io.ReadAll(io.LimitReader(r, maxAttached+1))
		if err = errors.Join(err, r.Close()); err != nil {
			return nil, nil, actions.Permanent(err)
		}
		if len(data) > maxAttached {
			missing = append(missing, fmt.Sprintf("%s is not attached: it is larger than %d MiB", name, maxAttached>>20))
			continue
		}
		files = append(files, file{name, data})
	}
	return files, missing, nil
}

func (f file) attach(body *multipart.Writer) error {
	part, err := body.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/octet-stream"}, "Content-Transfer-Encoding": {"base64"},
		"Content-Disposition": {mime.FormatMediaType("attachment", map[string]string{"filename": f.name})}})
	if err != nil {
		return err
	}
	const line = 57 // bytes, which make 76 characters
	for data := range slices.Chunk(f.data, line) {
		fmt.Fprintf(part, "%s\r\n", base64.StdEncoding.EncodeToString(data))
	}
	return nil
}

// deliver speaks SMTP. The connection ends with the context.
func (s SMTP) deliver(ctx context.Context, from *mail.Address, to []*mail.Address, data []byte) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return actions.Transient(fmt.Errorf("notify: e-mail: %w", err))
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	defer conn.Close()
	host, _, _ := net.SplitHostPort(s.Address)
	err = func() error {
		c, err := smtp.NewClient(conn, host)
		if err != nil {
			return err
		}
		if offered, _ := c.Extension("STARTTLS"); offered || s.TLS != nil {
			config := s.TLS.Clone()
			if config == nil {
				config = &tls.Config{}
			}
			if config.ServerName == "" {
				config.ServerName = host
			}
			if err := c.StartTLS(config); err != nil {
				return err
			}
		}
		if s.User != "" {
			if err := c.Auth(smtp.PlainAuth("", s.User, s.Password, host)); err != nil {
				return err
			}
		}
		if err := c.Mail(from.Address); err != nil {
			return err
		}
		for _, a := range to {
			if err := c.Rcpt(a.Address); err != nil {
				return err
			}
		}
		w, err := c.Data()
		if err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		_ = c.Quit() // it is delivered
		return nil
	}()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if said, refused := errors.AsType[*textproto.Error](err); refused && said.Code >= 500 {
		return actions.Permanent(fmt.Errorf("notify: e-mail: %w", err))
	}
	return directclient.Failed("notify: e-mail", err)
}
