package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/directclient"
)

// A Webhook posts messages as JSON.
type Webhook struct {
	// URL may be a secret itself: it is in no error.
	URL string
	// Secret signs what is posted: the header Remedy-Signature is "t=SECONDS,v1=HEX", HEX the HMAC-SHA256 of SECONDS, a dot and the
	// body. Empty: nothing is signed.
	Secret []byte
	// Client defaults to one that waits 10 seconds for an answer. Redirects are not followed.
	Client *http.Client
}

// Send posts the message, with its key in the header Idempotency-Key.
func (w Webhook) Send(ctx context.Context, m *Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return actions.Permanent(err)
	}
	headers := http.Header{"Idempotency-Key": {m.Key}}
	if len(w.Secret) > 0 {
		at := strconv.FormatInt(time.Now().Unix(), 10)
		mac := hmac.New(sha256.New, w.Secret)
		mac.Write([]byte(at + "."))
		mac.Write(body)
		headers.Set("Remedy-Signature", "t="+at+",v1="+hex.EncodeToString(mac.Sum(nil)))
	}
	_, err = post(ctx, w.Client, "webhook", w.URL, headers, body)
	return err
}

// A Slack posts messages to a channel of Slack: through an incoming webhook, or with a bot's token.
type Slack struct {
	// URL is the incoming webhook's, or that of chat.postMessage, which is the default with a Token.
	URL string
	// Token and Channel are a bot's, and where it posts.
	Token, Channel string
	// Client defaults to one that waits 10 seconds for an answer. Redirects are not followed.
	Client *http.Client
}

// The bounds of Slack, in characters.
const (
	maxHeader  = 150
	maxSection = 3000
)

// Send posts the message. All of it is plain text, in which Slack sees no mention and no link.
func (s Slack) Send(ctx context.Context, m *Message) error {
	text := func(t string, most int) map[string]any {
		return map[string]any{"type": "plain_text", "text": plain(t, most-1, true), "emoji": false}
	}
	blocks := []any{map[string]any{"type": "header", "text": text(m.Title, maxHeader)}, map[string]any{"type": "section", "text": text(m.Text, maxSection)}}
	facts := m.facts()
	blocks = append(blocks, map[string]any{"type": "context", "elements": []any{text(strings.Join(facts, " · "), maxSection)}})
	// What is shown where there are no blocks, such as on a phone's lock screen, is read as markup.
	payload := map[string]any{"blocks": blocks, "text": strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(m.Title), "unfurl_links": false, "unfurl_media": false}
	headers := http.Header{}
	where := s.URL
	if s.Token != "" {
		where = cmp.Or(where, "https://slack.com/api/chat.postMessage")
		headers.Set("Authorization", "Bearer "+s.Token)
		payload["channel"] = s.Channel
	}
	body, err := json.Marshal(payload)
	if err != nil {
		return actions.Permanent(err)
	}
	data, err := post(ctx, s.Client, "slack", where, headers, body)
	if err != nil || s.Token == "" {
		return err
	}
	var answer struct {
		OK    bool   `json:"ok"`
		Error string `json:"error"`
	}
	if err := json.Unmarshal(data, &answer); err != nil || !answer.OK {
		err := fmt.Errorf("notify: slack does not take the message: %s", plain(answer.Error, maxWord, false))
		if answer.Error == "ratelimited" || answer.Error == "internal_error" {
			return actions.Transient(err)
		}
		return actions.Permanent(err)
	}
	return nil
}

// facts are what is known of a message beside its text.
func (m *Message) facts() []string {
	facts := []string{"run " + m.Run + ", step " + m.Step}
	for _, f := range []struct{ name, value string }{{"type", m.Type}, {"project", m.Project}, {"priority", m.Priority}, {"severity", m.Severity}, {"attachments", strings.Join(m.Attachments, ", ")}} {
		if f.value != "" {
			facts = append(facts, f.name+" "+f.value)
		}
	}
	return facts
}

const maxAnswer = 64 << 10

// post posts JSON and returns the answer. Errors do not tell the address.
func post(ctx context.Context, client *http.Client, what, where string, headers http.Header, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, where, bytes.NewReader(body))
	if err != nil || req.URL.Host == "" {
		return nil, actions.Permanent(fmt.Errorf("notify: the URL of the %s is none", what))
	}
	req.Header = headers
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := directclient.Of(client, 10*time.Second).Do(req)
	if err != nil {
		return nil, directclient.Failed("notify: "+what, err)
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode < 300 {
		return data, nil
	}
	said := plain(string(data), 200, false)
	if resp.StatusCode < 400 {
		said = "a redirect is not followed: set the URL to where it leads"
	}
	err = fmt.Errorf("notify: %s: %s: %s", what, resp.Status, said)
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode < 500 {
		return nil, actions.Permanent(err)
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return nil, &actions.HandlerError{Transient: true, RetryAfter: time.Duration(max(0, seconds)) * time.Second, Err: err}
}
