package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/directclient"
	"github.com/remedykit/remedy/internal/wording"
)

// A Webhook posts messages as JSON.
type Webhook struct {
	// URL may be a secret itself: of what follows its host nothing is in an error, nor is who logs in.
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
	_, err = post(ctx, w.Client, "webhook", w.URL, headers, body, map[int]string{
		http.StatusUnauthorized: "have its URL or Client log in, or set Secret to the key that the receiver checks",
		http.StatusForbidden:    "have its URL or Client log in as who may post, or set Secret to the key that the receiver checks",
		http.StatusNotFound:     "set URL to what the receiver has now",
		http.StatusGone:         "set URL to what the receiver has now",
	})
	return err
}

// A Slack posts messages to a channel of Slack: through an incoming webhook, or with a bot's token.
type Slack struct {
	// URL is the incoming webhook's, or that of chat.postMessage, which is the default with a Token. As with a Webhook it is in no
	// error, nor is the Token.
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

// advice is what to do about what Slack answers.
var advice = map[string]string{
	"account_inactive":    "set Token to one that is valid",
	"channel_not_found":   "set Channel to the id of one that the bot is in",
	"channel_is_archived": "set Channel to one in use",
	"invalid_auth":        "set Token to one that is valid",
	"is_archived":         "set Channel to one in use",
	"missing_scope":       "give the bot the scope chat:write",
	"not_authed":          "set Token",
	"not_in_channel":      "invite the bot to the channel",
	"token_expired":       "set Token to one that is valid",
	"token_revoked":       "set Token to one that is valid",
}

// passing are answers of Slack after which another try may help.
var passing = map[string]bool{"fatal_error": true, "internal_error": true, "ratelimited": true, "rate_limited": true, "request_timeout": true, "service_unavailable": true}

// Send posts the message. All of it is plain text, in which Slack sees no mention and no link. Slack knows no second one by
// itself, so that one whose answer gets lost is there twice.
func (s Slack) Send(ctx context.Context, m *Message) error {
	text := func(t string, most int) map[string]any {
		return map[string]any{"type": "plain_text", "text": plain(wording.Unlink(t), most-1, true), "emoji": false}
	}
	blocks := []any{map[string]any{"type": "header", "text": text(m.Title, maxHeader)}, map[string]any{"type": "section", "text": text(m.Text, maxSection)}}
	facts := m.facts()
	blocks = append(blocks, map[string]any{"type": "context", "elements": []any{text(strings.Join(facts, " · "), maxSection)}})
	// What is shown where there are no blocks, such as on a phone's lock screen, is read as markup.
	title := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(wording.Unlink(m.Title))
	payload := map[string]any{"blocks": blocks, "text": title, "mrkdwn": false, "unfurl_links": false, "unfurl_media": false}
	headers := http.Header{}
	where, gone := s.URL, "make a new incoming webhook in Slack and set URL to it"
	if s.Token != "" {
		where, gone = cmp.Or(where, "https://slack.com/api/chat.postMessage"), "set URL to that of chat.postMessage"
		headers.Set("Authorization", "Bearer "+s.Token)
		payload["channel"] = s.Channel
	}
	body, err := json.Marshal(payload)
	if err != nil {
		return actions.Permanent(err)
	}
	data, err := post(ctx, s.Client, "slack", where, headers, body, map[int]string{http.StatusForbidden: gone, http.StatusNotFound: gone, http.StatusGone: gone})
	if err != nil || s.Token == "" {
		return err
	}
	var answer struct {
		OK    bool   `json:"ok"`
		Error string `json:"error"`
	}
	switch err := json.NewDecoder(bytes.NewReader(data)).Decode(&answer); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return actions.Transient(errors.New("notify: slack: the answer got lost"))
	case err != nil:
		return actions.Permanent(errors.New("notify: slack: the answer is none of its API: set URL to that of chat.postMessage"))
	case answer.OK:
		return nil
	}
	said := "notify: slack does not take the message"
	if word := plain(answer.Error, maxWord, false); word != "" && !strings.Contains(word, s.Token) {
		said += ": " + word
	}
	if what := advice[answer.Error]; what != "" {
		said += ": " + what
	}
	if passing[answer.Error] {
		return actions.Transient(errors.New(said))
	}
	return actions.Permanent(errors.New(said))
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

const (
	maxAnswer = 64 << 10
	// maxPause bounds how long a receiver is left alone that asks for it: a step that waited for longer would have no time for another
	// try, and nobody would be told.
	maxPause = 30 * time.Second
)

// share is how long a server may keep a try: half of the time that is left, so that there is some for another, and at most most.
func share(ctx context.Context, most time.Duration) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return min(most, time.Until(end)/2)
	}
	return most
}

// post posts JSON and returns the answer. Errors do not tell the address.
func post(ctx context.Context, client *http.Client, what, where string, headers http.Header, body []byte, todo map[int]string) ([]byte, error) {
	limit := 10 * time.Second
	if client != nil {
		limit = cmp.Or(client.Timeout, time.Hour)
	}
	limit = share(ctx, limit)
	try, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(try, http.MethodPost, where, bytes.NewReader(body))
	if err != nil || req.URL.Host == "" {
		return nil, actions.Permanent(fmt.Errorf("notify: the URL of the %s is none: set it to an http or https address", what))
	}
	req.Header = headers
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := directclient.Of(client, 0).Do(req)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case try.Err() != nil:
		return nil, actions.Transient(fmt.Errorf("notify: %s: no answer within %s", what, wording.Duration(limit.Round(time.Millisecond))))
	default:
		err = directclient.Failed("notify: "+what, err)
		if repeats(strings.TrimPrefix(err.Error(), "notify: "+what), req) {
			return nil, &actions.HandlerError{Transient: actions.IsTransient(err), Err: fmt.Errorf("notify: %s: it does not answer as HTTP does: look at where its URL leads", what)}
		}
		return nil, err
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode < 300 {
		return data, nil
	}
	said := string(data)
	if repeats(said, req) {
		said = "what it says is not shown, for it repeats a part of the URL"
	}
	resp.Status = strings.TrimSpace(strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode)) // its own words may be anything
	err = directclient.Refused("notify: "+what, resp, said, todo)
	if e, ok := errors.AsType[*actions.HandlerError](err); ok {
		e.RetryAfter = min(e.RetryAfter, maxPause)
	}
	return nil, err
}

// minSecret is the shortest word that is taken for a secret; a password always is one.
const minSecret = 6

// repeats tells whether a text holds what may be a secret of a request: a word of its address behind the host, who logs in, a
// token. Servers like to quote the path that they do not know.
func repeats(text string, req *http.Request) bool {
	u := req.URL
	password, _ := u.User.Password()
	query, _ := url.QueryUnescape(u.RawQuery)
	words := strings.FieldsFunc(u.Path+"/"+u.EscapedPath()+"/"+u.RawQuery+"/"+query, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '_'
	})
	login := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
	words = append(words, u.User.Username(), login, strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "))
	text = strings.ToLower(text)
	return password != "" && strings.Contains(text, strings.ToLower(password)) || slices.ContainsFunc(words, func(word string) bool {
		return len(word) >= minSecret && strings.Contains(text, strings.ToLower(word))
	})
}
