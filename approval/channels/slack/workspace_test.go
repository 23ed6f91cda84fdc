package slack_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

const (
	botToken = "xoxb-1-2-Abc"
	secret   = "8f742231b10e8888abcd99yyyzzz85a5"
	channel  = "C0APPROVALS"
	leads    = "C0LEADS"
)

// A workspace stands in for Slack: it takes calls as Slack's documentation says, keeps messages, and refuses what Slack refuses.
type workspace struct {
	*httptest.Server

	mu       sync.Mutex
	messages []*message
	whispers []whisper
	views    []map[string]any
	users    map[string]map[string]any
	calls    map[string]int
	fail     map[string][]string // by method: how the next calls go wrong
	refused  []string            // what was refused, and why
	release  chan struct{}       // ends calls that hang
}

type message struct {
	channel, ts, text, bot string
	blocks                 []map[string]any
	raw                    string
	metadata               map[string]any
	edits                  int
}

type whisper struct{ channel, user, text string }

func open(t *testing.T) *workspace {
	w := &workspace{users: map[string]map[string]any{}, calls: map[string]int{}, fail: map[string][]string{}, release: make(chan struct{})}
	w.Server = httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(func() {
		close(w.release)
		w.Close()
		if len(w.refused) > 0 {
			t.Errorf("Slack would refuse: %v", w.refused)
		}
	})
	return w
}

// fails has the next calls of a method go wrong: "429", "500" (before), "lost" (an error after it was done), "hang" (no answer after it was done), or an error code.
func (w *workspace) fails(method string, how ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail[method] = how
}

func (w *workspace) called(method string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[method]
}

// in returns copies of the messages in a channel.
func (w *workspace) in(channel string) []message {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []message
	for _, m := range w.messages {
		if m.channel == channel {
			all = append(all, *m)
		}
	}
	return all
}

// whispered returns what was said to people since it was asked last.
func (w *workspace) whispered() []whisper {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.whispers
	w.whispers = nil
	return all
}

func (w *workspace) opened() []map[string]any {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.views)
}

func (w *workspace) serve(rw http.ResponseWriter, r *http.Request) {
	method := strings.TrimPrefix(r.URL.Path, "/api/")
	arguments := url.Values{}
	body := map[string]json.RawMessage{}
	if r.Header.Get("Content-Type") == "application/json" {
		_ = json.NewDecoder(r.Body).Decode(&body)
	} else if r.ParseForm() == nil {
		arguments = r.PostForm
	}
	w.mu.Lock()
	w.calls[method]++
	how := ""
	if list := w.fail[method]; len(list) > 0 {
		how, w.fail[method] = list[0], list[1:]
	}
	answer := map[string]any{}
	failure := how
	switch {
	case arguments.Get("token") != botToken && r.Header.Get("Authorization") != "Bearer "+botToken:
		failure = "invalid_auth"
	case how == "" || how == "lost" || how == "hang":
		failure = w.do(method, arguments, body, answer)
		if failure != "" {
			w.refused = append(w.refused, method+": "+failure)
		}
	}
	w.mu.Unlock()
	switch how {
	case "hang":
		select {
		case <-w.release:
		case <-r.Context().Done():
		}
		return
	case "429":
		rw.Header().Set("Retry-After", "1")
		rw.WriteHeader(http.StatusTooManyRequests)
		return
	case "500", "lost":
		rw.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(rw, "<html>we are sorry about "+botToken+"</html>")
		return
	}
	answer["ok"] = failure == ""
	if failure != "" {
		code, detail, _ := strings.Cut(failure, ": ")
		answer["error"], answer["needed"], answer["response_metadata"] = code, "channels:history", map[string]any{"messages": []string{detail}}
	}
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(answer)
}

// do carries a call out, and returns the error code with which Slack would refuse it.
func (w *workspace) do(method string, a url.Values, body map[string]json.RawMessage, answer map[string]any) string {
	switch method {
	case "auth.test":
		answer["bot_id"], answer["team_id"], answer["user_id"] = "B0REMEDY", "T0TEAM", "U0REMEDY"
	case "chat.postMessage", "chat.update":
		m := &message{channel: a.Get("channel"), bot: "B0REMEDY", ts: fmt.Sprintf("%d.%06d", time.Now().Unix(), len(w.messages)+1)}
		if method == "chat.update" {
			i := slices.IndexFunc(w.messages, func(m *message) bool { return m.channel == a.Get("channel") && m.ts == a.Get("ts") })
			if i < 0 {
				return "message_not_found"
			}
			m = w.messages[i]
		}
		if m.channel != channel && m.channel != leads {
			return "channel_not_found"
		}
		blocks, why := checkMessage(a)
		if why != "" {
			return "invalid_blocks: " + why
		}
		m.text, m.blocks, m.raw = a.Get("text"), blocks, a.Get("blocks")
		if err := json.Unmarshal([]byte(a.Get("metadata")), &m.metadata); err != nil {
			return "invalid_metadata_format"
		}
		if method == "chat.update" {
			m.edits++
		} else {
			w.messages = append(w.messages, m)
		}
		answer["channel"], answer["ts"] = m.channel, m.ts
	case "chat.postEphemeral":
		if _, why := checkMessage(a); why != "" {
			return "invalid_blocks: " + why
		}
		w.whispers = append(w.whispers, whisper{a.Get("channel"), a.Get("user"), a.Get("text")})
		answer["message_ts"] = "1.2"
	case "conversations.history":
		var page []any
		from := 0
		if c := a.Get("cursor"); c != "" {
			_, _ = fmt.Sscan(c, &from)
		}
		limit := 0
		_, _ = fmt.Sscan(a.Get("limit"), &limit)
		next := ""
		for i := len(w.messages) - 1 - from; i >= 0; i-- {
			m := w.messages[i]
			if from++; m.channel != a.Get("channel") || m.ts < a.Get("oldest") {
				continue
			}
			entry := map[string]any{"type": "message", "ts": m.ts, "text": m.text, "bot_id": m.bot}
			if a.Get("include_all_metadata") == "1" {
				entry["metadata"] = m.metadata
			}
			if page = append(page, entry); len(page) == limit && i > 0 {
				next = fmt.Sprint(from)
				break
			}
		}
		answer["messages"], answer["has_more"], answer["response_metadata"] = page, next != "", map[string]any{"next_cursor": next}
	case "users.info":
		user := w.users[a.Get("user")]
		if user == nil {
			return "user_not_found"
		}
		answer["user"] = user
	case "views.open":
		var view map[string]any
		var trigger string
		if json.Unmarshal(body["view"], &view) != nil || json.Unmarshal(body["trigger_id"], &trigger) != nil || trigger == "" {
			return "invalid_arguments"
		}
		if why := checkView(view); why != "" {
			return "invalid_arguments: " + why
		}
		w.views = append(w.views, view)
		answer["view"] = view
	default:
		return "unknown_method"
	}
	return ""
}

var (
	badEscape = regexp.MustCompile(`&(?:$|[^alg]|a[^m]|l[^t]|g[^t])`)
	eventType = regexp.MustCompile(`^[a-z0-9_.]{1,255}$`)
)

// checkMessage says why Slack would refuse a message, or show something of it as more than text.
func checkMessage(a url.Values) ([]map[string]any, string) {
	text := a.Get("text")
	switch {
	case text == "":
		return nil, "no text for notifications"
	case utf8.RuneCountInString(text) > 4000:
		return nil, "the text is too long"
	case strings.ContainsAny(text, "<>") || badEscape.MatchString(text):
		return nil, "the text is not escaped: " + text
	case a.Get("parse") == "full" || a.Get("link_names") == "1" || a.Get("link_names") == "true":
		return nil, "names in the text become mentions"
	}
	var m struct {
		EventType string `json:"event_type"`
	}
	if data := a.Get("metadata"); data != "" {
		if json.Unmarshal([]byte(data), &m) != nil || !eventType.MatchString(m.EventType) {
			return nil, "metadata"
		}
	}
	var blocks []map[string]any
	if err := json.Unmarshal([]byte(a.Get("blocks")), &blocks); err != nil {
		return nil, err.Error()
	}
	return blocks, checkBlocks(blocks, 50)
}

func checkView(view map[string]any) string {
	metadata, _ := view["private_metadata"].(string)
	id, _ := view["callback_id"].(string)
	list, _ := view["blocks"].([]any)
	var blocks []map[string]any
	for _, b := range list {
		blocks = append(blocks, b.(map[string]any))
	}
	for _, name := range []string{"title", "submit", "close"} {
		if why := checkPlain(view[name], 24); why != "" {
			return name + ": " + why
		}
	}
	switch {
	case view["type"] != "modal" || id == "" || len(id) > 255:
		return "type or callback_id"
	case utf8.RuneCountInString(metadata) > 3000:
		return "private_metadata is too long"
	}
	return checkBlocks(blocks, 100)
}

func checkBlocks(blocks []map[string]any, most int) string {
	if len(blocks) == 0 || len(blocks) > most {
		return fmt.Sprintf("%d blocks", len(blocks))
	}
	ids, total := map[string]bool{}, 0
	for _, b := range blocks {
		id, _ := b["block_id"].(string)
		if len(id) > 255 || id != "" && ids[id] {
			return "block_id " + id
		}
		ids[id] = true
		why := ""
		switch b["type"] {
		case "header":
			why = checkPlain(b["text"], 150)
		case "rich_text":
			n := 0
			n, why = checkRich(b["elements"])
			total += n
		case "actions":
			why = checkActions(b["elements"])
		case "input":
			why = checkInput(b)
		default:
			why = "is none"
		}
		if why != "" {
			return fmt.Sprintf("block %s (%v): %s", id, b["type"], why)
		}
	}
	if total > 13000 {
		return fmt.Sprintf("msg_blocks_too_long: %d", total)
	}
	return ""
}

func checkPlain(v any, most int) string {
	text, _ := v.(map[string]any)
	s, _ := text["text"].(string)
	switch {
	case text["type"] != "plain_text":
		return "is not plain_text"
	case s == "" || utf8.RuneCountInString(s) > most:
		return fmt.Sprintf("has %d characters", utf8.RuneCountInString(s))
	case text["emoji"] == true:
		return "would show emoji"
	}
	return ""
}

// checkRich lets through literal text, mentions by id of users and user groups, and dates.
func checkRich(v any) (total int, why string) {
	parts, _ := v.([]any)
	if len(parts) == 0 {
		return 0, "has no elements"
	}
	for _, part := range parts {
		p := part.(map[string]any)
		elements, _ := p["elements"].([]any)
		if !slices.Contains([]any{"rich_text_section", "rich_text_quote", "rich_text_preformatted"}, p["type"]) || len(elements) == 0 {
			return total, fmt.Sprintf("has a %v of %d", p["type"], len(elements))
		}
		for _, element := range elements {
			e := element.(map[string]any)
			switch e["type"] {
			case "text":
				s, _ := e["text"].(string)
				n := utf8.RuneCountInString(s)
				total += n
				if n == 0 || n > 3000 {
					return total, fmt.Sprintf("has a text of %d characters", n)
				}
				for _, r := range s {
					if r != '\n' && r < ' ' || strings.ContainsRune("\u202e\u2066\u200b\ufeff\u2028\u00ad", r) {
						return total, fmt.Sprintf("has %U", r)
					}
				}
			case "user":
				if id, _ := e["user_id"].(string); !strings.HasPrefix(id, "U") {
					return total, "mentions " + id
				}
			case "usergroup":
				if id, _ := e["usergroup_id"].(string); !strings.HasPrefix(id, "S") {
					return total, "mentions " + id
				}
			case "date":
				if at, ok := e["timestamp"].(float64); !ok || at <= 0 || e["format"] == "" || e["fallback"] == "" {
					return total, fmt.Sprintf("has the date %v", e)
				}
			default:
				return total, fmt.Sprintf("has a %v", e["type"])
			}
		}
	}
	return total, ""
}

func checkActions(v any) string {
	elements, _ := v.([]any)
	if len(elements) == 0 || len(elements) > 25 {
		return "has no elements, or too many"
	}
	ids := map[any]bool{}
	for _, element := range elements {
		e := element.(map[string]any)
		value, _ := e["value"].(string)
		id, _ := e["action_id"].(string)
		if why := checkPlain(e["text"], 75); e["type"] != "button" || why != "" {
			return "button: " + why
		}
		if value == "" || utf8.RuneCountInString(value) > 2000 || id == "" || len(id) > 255 || ids[id] || e["style"] != "primary" && e["style"] != "danger" {
			return "button " + id
		}
		ids[id] = true
	}
	return ""
}

func checkInput(b map[string]any) string {
	e, _ := b["element"].(map[string]any)
	most, _ := e["max_length"].(float64)
	if why := checkPlain(b["label"], 2000); why != "" {
		return why
	}
	if e["type"] != "plain_text_input" || most < 1 || most > 3000 || e["action_id"] == "" {
		return "element"
	}
	return ""
}
