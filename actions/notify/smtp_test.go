package notify_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/artifact"
	"github.com/remedykit/remedy/actions/notify"
)

func (m *mailbox) sender() notify.SMTP {
	return notify.SMTP{Address: m.address, From: "Remedy <remedy@example.com>", To: []string{"oncall@example.com"}, User: "remedy", Password: "hunter2", TLS: m.config}
}

// read is a mail as people see it: its text, and what is attached by its name.
func read(t *testing.T, raw string) (header mail.Header, text string, attached map[string]int) {
	t.Helper()
	for line := range strings.SplitSeq(raw, "\r\n") {
		require.LessOrEqual(t, len(line), 998, "RFC 5322")
	}
	m, err := mail.ReadMessage(strings.NewReader(raw))
	require.NoError(t, err)
	_, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	parts, attached := multipart.NewReader(m.Body, parameters["boundary"]), map[string]int{}
	for {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			return m.Header, text, attached
		}
		require.NoError(t, err)
		if p.Header.Get("Content-Transfer-Encoding") == "base64" {
			n, err := io.Copy(io.Discard, base64.NewDecoder(base64.StdEncoding, p))
			require.NoError(t, err)
			_, named, err := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
			require.NoError(t, err)
			attached[named["filename"]] = int(n)
			continue
		}
		data, err := io.ReadAll(quotedprintable.NewReader(p))
		require.NoError(t, err)
		text = strings.ReplaceAll(string(data), "\r\n", "\n")
	}
}

// shelf is a store that takes any name.
type shelf map[string]string

func (shelf) Put(context.Context, string, string, io.Reader) (actions.Artifact, error) {
	return actions.Artifact{}, nil
}

func (s shelf) Open(_ context.Context, _, name string) (io.ReadCloser, error) {
	content, ok := s[name]
	if !ok {
		return nil, artifact.ErrNotFound
	}
	return io.NopCloser(strings.NewReader(content)), nil
}

func TestAMailIsSentWithoutWhatCannotBeAttachedAndSaysWhy(t *testing.T) {
	box, dir := newMailbox(t), t.TempDir()
	store := artifact.Folder(dir)
	long := "collect_diagnostics_" + strings.Repeat("x", 120)
	for name, size := range map[string]int{long: 3, "one": 5 << 20, "two": 5 << 20, "three": 5 << 20, "large": 5<<20 + 1} {
		_, err := store.Put(t.Context(), "r", name, bytes.NewReader(make([]byte, size)))
		require.NoError(t, err)
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "r", "broken"), 0o700))
	h := handlerOf(t, notify.Options{Default: box.sender(), Artifacts: store})
	names := []string{"broken", "../etc/passwd", "one\u202e", "large", "one", "one", "two", "three", "nothing", long}
	_, err := h.Execute(t.Context(), request(map[string]any{"attachments": names}))
	require.NoError(t, err)
	_, text, attached := read(t, <-box.got)
	require.Equal(t, map[string]int{"one": 5 << 20, "two": 5 << 20, long: 3}, attached)
	for _, line := range []string{
		"broken is not attached: is a directory", "../etc/passwd is not attached: artifact \"../etc/passwd\" of run \"r\": a name has letters, digits, and . _ - inside",
		"one is not attached: artifact \"one\\u202e\" of run", "large is not attached: it is larger than 5 MiB",
		"three is not attached: all that is attached would be larger than 12 MiB", "nothing is not attached: its step has left nothing",
	} {
		require.Contains(t, text, "\n"+line)
	}
	require.NotContains(t, text, dir, "nobody needs to know the runner's folders")
}

func TestAMailServerThatTakesNoLargeMailGetsASmallOne(t *testing.T) {
	store := shelf{"dump": strings.Repeat("x", 100_000)}
	req := request(map[string]any{"attachments": []string{"dump"}})
	for how, answer := range map[string]func(string) string{
		"says how much it takes": func(line string) string {
			if strings.HasPrefix(line, "EHLO") {
				return "250-here\r\n250-STARTTLS\r\n250-AUTH PLAIN\r\n250 SIZE 100000"
			}
			return ""
		},
		"says so afterwards": func(line string) string {
			if len(line) > 100_000 {
				return "552 5.3.4 too large"
			}
			return ""
		},
	} {
		box := newMailbox(t)
		box.answers(answer)
		_, err := handlerOf(t, notify.Options{Default: box.sender(), Artifacts: store}).Execute(t.Context(), req)
		require.NoError(t, err, how)
		_, text, attached := read(t, <-box.got)
		require.Empty(t, attached)
		require.Contains(t, text, "dump is not attached: the mail server does not take it: ", how)
	}
}

func TestNoHeaderIsTooLongOrComesOfTheText(t *testing.T) {
	box := newMailbox(t)
	sender := box.sender()
	sender.To = nil
	for i := range 80 {
		sender.To = append(sender.To, fmt.Sprintf("Ünder %d <oncall-%d@example.com>", i, i))
	}
	odd := strings.Repeat("𝔷", 240)
	h := handlerOf(t, notify.Options{Default: sender, Artifacts: shelf{odd: "x"}})
	subject := func(title string) string {
		_, err := h.Execute(t.Context(), request(map[string]any{"message": title, "attachments": []string{odd}}))
		require.NoError(t, err)
		header, _, attached := read(t, <-box.got)
		require.Len(t, attached, 1)
		to, err := header.AddressList("To")
		require.NoError(t, err)
		require.Len(t, to, 80)
		s, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject"))
		require.NoError(t, err)
		return s
	}
	require.Equal(t, "[remedy] "+strings.Repeat("ж", 120)+"…", subject(strings.Repeat("ж", 5000)))
	require.Equal(t, "[remedy] = ?utf-8?q?=0D=0ABcc:_x?=", subject("=?utf-8?q?=0D=0ABcc:_x?="), "it is not decoded")
	require.Equal(t, "[remedy] see https[:]//evil.example", subject("see https://evil.example"), "mail programs make links of addresses")
}

func TestAMailServerThatSaysNothingIsTriedAgain(t *testing.T) {
	for where, at := range map[string]string{"greeting": "", "hello": "EHLO", "sender": "MAIL", "message": "\n"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			box := newMailbox(t)
			var once sync.Once
			box.answers(func(line string) (answer string) {
				if strings.HasPrefix(line, at) && (at != "" || line == "") {
					once.Do(func() { answer = hush })
				}
				return answer
			})
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, err := handlerOf(t, notify.Options{Default: box.sender()}).Execute(ctx, request(nil))
			require.NoError(t, err)
			require.Len(t, box.got, 1)
		})
	}
	box := newMailbox(t)
	box.answers(func(string) string { return hush })
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := handlerOf(t, notify.Options{Default: box.sender()}).Execute(ctx, request(nil))
	require.ErrorContains(t, err, box.address+" takes too long to answer: look whether it speaks SMTP there")
	require.True(t, actions.IsTransient(err))
}

func TestNoPasswordIsSentInTheClear(t *testing.T) {
	box := newMailbox(t)
	box.answers(func(line string) string {
		switch {
		case strings.HasPrefix(line, "EHLO"):
			return "250-here\r\n250 AUTH PLAIN"
		case strings.HasPrefix(line, "AUTH"):
			t.Error("the server on this machine got the password")
		case strings.HasPrefix(line, "MAIL"):
			return "250 fine"
		}
		return ""
	})
	login, secure := box.sender(), box.sender()
	login.TLS = nil
	secure.User = ""
	for _, sender := range []notify.SMTP{login, secure} {
		_, err := handlerOf(t, notify.Options{Default: sender}).Execute(t.Context(), request(nil))
		require.ErrorContains(t, err, box.address+" does not offer STARTTLS")
		require.False(t, actions.IsTransient(err), "it will not offer it later")
	}
	require.Empty(t, box.got)
	login.User = ""
	_, err := handlerOf(t, notify.Options{Default: login}).Execute(t.Context(), request(nil))
	require.NoError(t, err, "a relay that needs neither")
}

func TestNoErrorOfAMailServerRepeatsThePassword(t *testing.T) {
	box := newMailbox(t)
	for _, code := range []string{"500 ", ""} {
		box.answers(func(line string) string {
			if strings.HasPrefix(line, "AUTH") {
				return code + line + " (hunter2)\x1b[31m " + strings.Repeat("x", 5000)
			}
			return ""
		})
		err := box.sender().Send(soon(t), &notify.Message{Key: "r/s"})
		require.ErrorContains(t, err, "logging in as remedy")
		require.NotContains(t, err.Error(), "hunter2")
		require.NotContains(t, err.Error(), base64.StdEncoding.EncodeToString([]byte("\x00remedy\x00hunter2")))
		require.NotContains(t, err.Error(), "\x1b")
		require.Less(t, len(err.Error()), 500)
	}
}

func TestAnAddressThatIsGoneKeepsNobodyElseFromBeingTold(t *testing.T) {
	box := newMailbox(t)
	box.answers(func(line string) string {
		if strings.HasPrefix(line, "RCPT TO:<left@") {
			return "552 no such person"
		}
		return ""
	})
	sender := box.sender()
	sender.To = []string{"left@example.com", "oncall@example.com"}
	h := handlerOf(t, notify.Options{Default: sender, Artifacts: shelf{"dump": "x"}})
	_, err := h.Execute(t.Context(), request(map[string]any{"attachments": []string{"dump"}}))
	require.ErrorContains(t, err, "the others are told, but not left@example.com: 552")
	require.ErrorContains(t, err, "no such person")
	require.False(t, actions.IsTransient(err))
	require.Len(t, box.got, 1, "they are told once")
	sender.To = sender.To[:1]
	_, err = handlerOf(t, notify.Options{Default: sender}).Execute(t.Context(), request(nil))
	require.ErrorContains(t, err, "nobody of To is taken: left@example.com")
	require.Len(t, box.got, 1)
}

func TestAnAddressOfAServerThatIsNoneIsNotTriedAgain(t *testing.T) {
	sender := notify.SMTP{Address: "mail.example.com", From: "a@b.c", To: []string{"d@e.f"}, TLS: &tls.Config{}}
	_, err := handlerOf(t, notify.Options{Default: sender}).Execute(t.Context(), request(nil))
	require.ErrorContains(t, err, `Address "mail.example.com" is no host and port`)
	require.False(t, actions.IsTransient(err))
}
