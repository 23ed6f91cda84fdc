package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/artifact"
	"github.com/remedykit/remedy/internal/directclient"
	"github.com/remedykit/remedy/internal/wording"
)

// An SMTP sends messages by e-mail, in plain text.
type SMTP struct {
	// Address is the server's host and port, such as mail.example.com:587. TLS is turned on by STARTTLS: port 465 is not for this.
	Address string
	// From and To are addresses such as "Remedy <remedy@example.com>".
	From string
	To   []string
	// User and Password log in. They are sent only over TLS, to this machine too: what listens there need not be a mail server.
	// Empty: nobody does.
	User, Password string
	// TLS is used for STARTTLS, which is required when it or User is set; else it is used where the server offers it.
	TLS *tls.Config
}

// The bounds of what is attached; what goes beyond them is named. Many servers take no mail of more than 20 MB, which is a third
// more than what is in it.
const (
	maxAttached = 5 << 20
	maxTogether = 12 << 20
)

// The bounds of a try. A server that has the whole message gets longer than one that has not: another try may deliver it twice.
const (
	maxReading  = 15 * time.Second
	maxDialogue = 10 * time.Second
	maxDelivery = 30 * time.Second
	maxSaid     = 1 << 20 // bytes
)

// tooLarge is how a server answers to a message that is larger than it takes.
const tooLarge = 552

// Send delivers the message. Its Message-ID is made from its key, so that a second one can be known. What cannot be attached is
// left out, and the message says why.
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
		return actions.Permanent(errors.New("notify: the e-mail has nobody to go to: set To"))
	}
	files, missing := m.files(ctx)
	data, err := m.compose(from, to, files, missing)
	if err != nil {
		return actions.Permanent(err)
	}
	err = s.deliver(ctx, from, to, data)
	if said, ok := errors.AsType[*textproto.Error](err); ok && said.Code == tooLarge && len(files) > 0 {
		for _, f := range files {
			missing = append(missing, f.name+" is not attached: the mail server does not take it: "+plain(said.Msg, maxWord, false))
		}
		if data, err = m.compose(from, to, nil, missing); err != nil {
			return actions.Permanent(err)
		}
		err = s.deliver(ctx, from, to, data)
	}
	return err
}

func (m *Message) compose(from *mail.Address, to []*mail.Address, files []file, missing []string) ([]byte, error) {
	var b bytes.Buffer
	body := multipart.NewWriter(&b)
	names := make([]string, len(to))
	for i, a := range to {
		names[i] = a.String()
	}
	sum := sha256.Sum256([]byte(m.Key))
	host := from.Address[strings.LastIndexByte(from.Address, '@')+1:]
	// Only what has other letters gets encoded: a title of ASCII must not be one that is already.
	subject := strings.ReplaceAll("[remedy] "+wording.Unlink(m.Title), "=?", "= ?")
	for _, h := range [][2]string{
		{"From", from.String()}, {"To", strings.Join(names, ",\r\n ")}, {"Subject", mime.QEncoding.Encode("utf-8", subject)},
		{"Date", time.Now().Format(time.RFC1123Z)}, {"Message-ID", "<" + hex.EncodeToString(sum[:16]) + "@" + host + ">"},
		{"MIME-Version", "1.0"}, {"Auto-Submitted", "auto-generated"}, {"Content-Type", `multipart/mixed; boundary="` + body.Boundary() + `"`},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	part, err := body.CreatePart(textproto.MIMEHeader{"Content-Type": {"text/plain; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"}})
	if err != nil {
		return nil, err
	}
	text := quotedprintable.NewWriter(part)
	fmt.Fprint(text, wording.Unlink(fmt.Sprintf("%s\n\n-- \n%s\n", m.Text, strings.Join(append(m.facts(), missing...), "\n"))))
	if err := text.Close(); err != nil {
		return nil, err
	}
	for _, f := range files {
		if err := f.attach(body); err != nil {
			return nil, err
		}
	}
	if err := body.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// A file is an artifact that is attached.
type file struct {
	name string
	data []byte
}

// files are the attachments, and why some are missing: people are told without them.
func (m *Message) files(ctx context.Context) (files []file, missing []string) {
	if m.store == nil {
		return nil, nil
	}
	limit := share(ctx, maxReading)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	room := maxTogether
	for i, name := range m.names {
		shown, most := m.Attachments[i], min(room, maxAttached)
		data, err := m.read(ctx, name, most)
		why := ""
		switch {
		case err == nil && len(data) <= most:
			files = append(files, file{shown, data})
			room -= len(data)
			continue
		case err == nil && most == maxAttached:
			why = fmt.Sprintf("it is larger than %d MiB", maxAttached>>20)
		case err == nil:
			why = fmt.Sprintf("all that is attached would be larger than %d MiB", maxTogether>>20)
		case errors.Is(err, artifact.ErrNotFound):
			why = "its step has left nothing"
		case ctx.Err() != nil:
			why = "there was no time left to read it"
		default:
			why = plain(bare(err).Error(), 200, false)
		}
		missing = append(missing, shown+" is not attached: "+why)
	}
	return files, missing
}

// read reads an artifact, and one byte more than most when it is larger.
func (m *Message) read(ctx context.Context, name string, most int) (data []byte, err error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r, err := m.store.Open(ctx, m.Run, name)
	if err != nil {
		return nil, err
	}
	data, err = io.ReadAll(io.LimitReader(r, int64(most)+1))
	return data, errors.Join(err, r.Close())
}

// bare is an error without where it happened: those who get mails need not know the runner's folders, and the URLs of an object
// store hold secrets.
func bare(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

func (f file) attach(body *multipart.Writer) error {
	header := func(name string) string {
		return mime.FormatMediaType("attachment", map[string]string{"filename": name})
	}
	disposition := header(f.name)
	if len(disposition) > 900 { // a line has at most 998 bytes
		disposition = header(plain(f.name, 70, false))
	}
	part, err := body.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/octet-stream"}, "Content-Transfer-Encoding": {"base64"},
		"Content-Disposition": {disposition}})
	if err != nil {
		return err
	}
	const line = 57 // bytes, which make 76 characters
	for data := range slices.Chunk(f.data, line) {
		fmt.Fprintf(part, "%s\r\n", base64.StdEncoding.EncodeToString(data))
	}
	return nil
}

// A bounded connection reads so much and no more: one line of a server may be endless.
type bounded struct {
	net.Conn
	r io.Reader
}

func (b bounded) Read(p []byte) (int, error) { return b.r.Read(p) }

// deliver makes one try, and classes why it fails. The connection ends with the context.
func (s SMTP) deliver(ctx context.Context, from *mail.Address, to []*mail.Address, data []byte) error {
	err := s.talk(ctx, from, to, data)
	if err == nil {
		return nil
	}
	if _, classed := errors.AsType[*actions.HandlerError](err); classed {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err = heard(err)
	if said, refused := errors.AsType[*textproto.Error](err); refused && said.Code >= 500 {
		return actions.Permanent(fmt.Errorf("notify: e-mail: %w", err))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return actions.Transient(fmt.Errorf("notify: e-mail: %s takes too long to answer: look whether it speaks SMTP there, with STARTTLS and not TLS from the start: %w", s.Address, err))
	}
	return directclient.Failed("notify: e-mail", err)
}

// heard makes one short line of what a server says, without secrets: servers like to quote commands that they do not know.
func heard(err error, secrets ...string) error {
	line := func(said string) string {
		for _, secret := range secrets {
			if secret != "" {
				said = strings.ReplaceAll(said, secret, "…")
			}
		}
		return directclient.Line(said)
	}
	switch said := err.(type) { //nolint:errorlint // what wraps one has been through here
	case *textproto.Error:
		return &textproto.Error{Code: said.Code, Msg: line(said.Msg)}
	case textproto.ProtocolError:
		return textproto.ProtocolError(line(string(said)))
	}
	return err
}

// talk speaks SMTP.
func (s SMTP) talk(ctx context.Context, from *mail.Address, to []*mail.Address, data []byte) error {
	host, _, err := net.SplitHostPort(s.Address)
	if err != nil {
		return actions.Permanent(fmt.Errorf("notify: e-mail: Address %q is no host and port, such as mail.example.com:587", s.Address))
	}
	limit := time.Now().Add(share(ctx, maxDialogue))
	d := net.Dialer{Deadline: limit}
	conn, err := d.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_ = conn.SetDeadline(limit)
	c, err := smtp.NewClient(bounded{conn, io.LimitReader(conn, maxSaid)}, host)
	if err != nil {
		return err
	}
	if err := s.enter(c, host); err != nil {
		return err
	}
	_, size := c.Extension("SIZE")
	if most, _ := strconv.Atoi(size); most > 0 && len(data) > most { // some hang up on it without a word
		return &textproto.Error{Code: tooLarge, Msg: fmt.Sprintf("it takes %d bytes at most", most)}
	}
	if err := c.Mail(from.Address); err != nil {
		return err
	}
	var lost []string
	for _, a := range to {
		err := heard(c.Rcpt(a.Address))
		said, refused := errors.AsType[*textproto.Error](err)
		switch {
		case err == nil:
		case refused && said.Code >= 500: // an address that is gone must not keep the others from being told
			lost = append(lost, a.Address+": "+err.Error())
		default:
			return err
		}
	}
	if len(lost) == len(to) {
		return actions.Permanent(fmt.Errorf("notify: e-mail: nobody of To is taken: %s", strings.Join(lost, "; ")))
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(share(ctx, maxDelivery)))
	if _, err := w.Write(data); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	_ = c.Quit() // it is delivered
	if lost != nil {
		return actions.Permanent(fmt.Errorf("notify: e-mail: the others are told, but not %s: set To to addresses that are taken", strings.Join(lost, "; ")))
	}
	return nil
}

// enter turns TLS on and logs in.
func (s SMTP) enter(c *smtp.Client, host string) error {
	if err := c.Hello("localhost"); err != nil { // Extension would not tell it
		return err
	}
	if offered, _ := c.Extension("STARTTLS"); offered {
		config := s.TLS.Clone()
		if config == nil {
			config = &tls.Config{}
		}
		config.ServerName = cmp.Or(config.ServerName, host)
		if err := c.StartTLS(config); err != nil {
			return err
		}
	} else if s.TLS != nil || s.User != "" {
		return actions.Permanent(fmt.Errorf("notify: e-mail: %s does not offer STARTTLS, without which nothing is sent when TLS or User is set: turn it on there", s.Address))
	}
	if s.User == "" {
		return nil
	}
	err := heard(c.Auth(smtp.PlainAuth("", s.User, s.Password, host)), s.Password, base64.StdEncoding.EncodeToString([]byte("\x00"+s.User+"\x00"+s.Password)))
	if err != nil {
		return fmt.Errorf("logging in as %s: %w: look at User and Password", s.User, err)
	}
	return nil
}
