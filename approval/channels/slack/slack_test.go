package slack_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/channels/internal/asktest"
	"github.com/remedykit/remedy/approval/channels/slack"
)

var sre = approval.Panel{Approvers: approval.Approvers{Groups: []string{"sre"}}}

func options(w *workspace) slack.Options {
	return slack.Options{
		Token: botToken, SigningSecret: secret, Channel: channel, Escalation: leads, API: w.URL + "/api",
		People: map[string]slack.Person{
			"U0ANN": {Name: "ann", Groups: []string{"sre"}}, "U0BOB": {Name: "bob", Groups: []string{"sre"}}, "U0LEA": {Name: "lea", Groups: []string{"leads"}},
			"Eve@Example.com": {Name: "eve", Groups: []string{"sre"}},
		},
		Mentions: map[string]string{"sre": "S0SRE", "leads": "S0LEADS"},
	}
}

func channelOf(t *testing.T, o slack.Options) *slack.Channel {
	t.Helper()
	c, err := slack.New(o)
	require.NoError(t, err)
	return c
}

// decisions is a decider that keeps what it is handed.
type decisions struct {
	mu     sync.Mutex
	all    []approval.Decision
	steps  []string
	answer error
	hold   chan struct{}
}

func (d *decisions) Decide(ctx context.Context, run, step string, decision approval.Decision) error {
	if d.hold != nil {
		select {
		case <-d.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.answer != nil {
		return d.answer
	}
	d.all, d.steps = append(d.all, decision), append(d.steps, run+"/"+step)
	return nil
}

func (d *decisions) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.all)
}

// signed is a request as Slack sends it.
func signed(payload any, at time.Time, secret string) *http.Request {
	data, _ := json.Marshal(payload)
	return signedBody(url.Values{"payload": {string(data)}}.Encode(), at, secret)
}

func signedBody(body string, at time.Time, secret string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/slack", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "v0:%s:%s", stamp, body)
	r.Header.Set("X-Slack-Request-Timestamp", stamp)
	r.Header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac.Sum(nil)))
	return r
}

var trigger int

// click is what Slack sends when a user clicks a button.
func click(user, action, value string) map[string]any {
	trigger++
	return map[string]any{
		"type": "block_actions", "team": map[string]any{"id": "T0TEAM"}, "user": map[string]any{"id": user}, "channel": map[string]any{"id": channel},
		"trigger_id": fmt.Sprintf("t.%d", trigger), "actions": []any{map[string]any{"type": "button", "action_id": action, "block_id": "answer", "value": value}},
	}
}

// submit is what Slack sends when a user submits a dialog.
func submit(user string, view map[string]any, reason string) map[string]any {
	own := map[string]any{
		"type": "modal", "callback_id": view["callback_id"], "private_metadata": view["private_metadata"],
		"state": map[string]any{"values": map[string]any{"reason": map[string]any{"reason": map[string]any{"type": "plain_text_input", "value": reason}}}},
	}
	return map[string]any{"type": "view_submission", "team": map[string]any{"id": "T0TEAM"}, "user": map[string]any{"id": user}, "view": own}
}

func send(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// button is the value of one of the buttons in a message; "" when it has none.
func button(m message, action string) string {
	for _, b := range m.blocks {
		if b["type"] != "actions" {
			continue
		}
		for _, e := range b["elements"].([]any) {
			if e := e.(map[string]any); e["action_id"] == action {
				return e["value"].(string)
			}
		}
	}
	return ""
}

// words are all texts of a message.
func words(m message) string {
	var all strings.Builder
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if s, ok := v["text"].(string); ok {
				all.WriteString(s + "\n")
			}
			for _, name := range []string{"text", "elements"} {
				walk(v[name])
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	for _, b := range m.blocks {
		walk(b)
	}
	return all.String()
}

func TestAQuestionIsOneMessageWithAllThatAPersonNeeds(t *testing.T) {
	w := open(t)
	c := channelOf(t, options(w))
	req := asktest.Request(t, time.Now(), sre)
	d, err := c.Approve(t.Context(), req)
	require.NoError(t, err)
	posted := w.in(channel)
	require.Len(t, posted, 1)
	require.Equal(t, &approval.Decision{Verdict: approval.Pending, Receipt: `{"channel":"C0APPROVALS","ts":"` + posted[0].ts + `"}`}, d)
	require.Equal(t, "Approve step 4, restart_pod?, run run-1", posted[0].text)
	for _, what := range []string{
		"Payments run out of memory", "heap grows by 50 MB an hour", "Rolling restart to clear leaked memory", "restartedAt: none → 2026-05-04T12:00:00Z", "cannot be undone",
		"On yes: ", "On no: ", "On silence: ", "means no", "▶ Step 4: restart_pod", "Approve", "Reject",
	} {
		require.Contains(t, words(posted[0]), what)
	}
	require.Contains(t, posted[0].raw, `"usergroup_id":"S0SRE"`, "who is to decide is mentioned")
	require.JSONEq(t, `{"run":"run-1","step":"rec-004","digest":"sha256:0f3c"}`, button(posted[0], "remedy_approve"))
	require.Equal(t, button(posted[0], "remedy_approve"), button(posted[0], "remedy_reject"))
}

func TestAQuestionIsPostedOnceWhateverHappens(t *testing.T) {
	w := open(t)
	req := asktest.Request(t, time.Now(), sre)
	c := channelOf(t, options(w))
	w.fails("chat.postMessage", "lost")
	_, err := c.Approve(t.Context(), req)
	require.EqualError(t, err, "slack: cannot post the question: slack server error: 500 Internal Server Error")
	d, err := c.Approve(t.Context(), req)
	require.NoError(t, err)
	require.Len(t, w.in(channel), 1, "an answer that was lost is looked for")
	again, err := c.Approve(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, d, again)

	looked := w.called("conversations.history")
	restarted := *req
	restarted.Receipt = d.Receipt
	again, err = channelOf(t, options(w)).Approve(t.Context(), &restarted)
	require.NoError(t, err)
	require.Equal(t, d, again)
	require.Equal(t, looked, w.called("conversations.history"), "a receipt says where it is")
	again, err = channelOf(t, options(w)).Approve(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, d, again, "without a receipt it is looked for")
	require.Len(t, w.in(channel), 1)

	other := *req
	other.Key = "run-2/rec-004"
	o := options(w)
	o.Client = &http.Client{Timeout: 200 * time.Millisecond}
	c = channelOf(t, o)
	w.fails("chat.postMessage", "hang")
	_, err = c.Approve(t.Context(), &other)
	require.ErrorContains(t, err, "cannot post the question")
	_, err = c.Approve(t.Context(), &other)
	require.NoError(t, err)
	require.Len(t, w.in(channel), 2)

	forged := *req
	forged.Key = "run-3/rec-004"
	w.mu.Lock()
	known := w.messages[0]
	sum := sha256.Sum256([]byte(forged.Key))
	w.messages = append(w.messages, &message{channel: channel, ts: known.ts + "9", bot: "B0EVIL", metadata: map[string]any{
		"event_type": "remedy_approval", "event_payload": map[string]any{"key": hex.EncodeToString(sum[:]), "role": "question"}}})
	w.mu.Unlock()
	_, err = c.Approve(t.Context(), &forged)
	require.NoError(t, err)
	require.Len(t, w.in(channel), 4, "another app cannot keep a question from being posted")
}

func TestAQuestionIsFoundBehindPagesOfTalk(t *testing.T) {
	w := open(t)
	req := asktest.Request(t, time.Now(), sre)
	d, err := channelOf(t, options(w)).Approve(t.Context(), req)
	require.NoError(t, err)
	talk := func(n int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for range n {
			w.messages = append(w.messages, &message{channel: channel, ts: fmt.Sprintf("%d.%06d", time.Now().Unix(), len(w.messages)+1), text: "hello"})
		}
	}
	talk(500)
	again, err := channelOf(t, options(w)).Approve(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, d, again)
	talk(2000)
	_, err = channelOf(t, options(w)).Approve(t.Context(), req)
	require.ErrorContains(t, err, "cannot tell whether the question is posted already")
}

func TestErrorsSayWhatToDoAndNoSecret(t *testing.T) {
	w := open(t)
	for how, want := range map[string]string{
		"not_in_channel": "invite the app to the channel", "channel_not_found": "check the id", "token_revoked": "needs a new token", "is_archived": "archive",
		"missing_scope": "add the scope channels:history", "msg_too_long": "msg_too_long", botToken + " " + secret: "(token) (signing secret)", "500": "500",
	} {
		w.fails("chat.postMessage", how)
		_, err := channelOf(t, options(w)).Approve(t.Context(), asktest.Request(t, time.Now(), sre))
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), botToken)
		require.NotContains(t, err.Error(), secret)
	}
	o := options(w)
	o.Token = "xoxb-other"
	_, err := channelOf(t, o).Approve(t.Context(), asktest.Request(t, time.Now(), sre))
	require.EqualError(t, err, "slack: cannot look who the token is for: invalid_auth: the app needs a new token")
	require.Empty(t, w.in(channel))
	w.Close()
	_, err = channelOf(t, options(w)).Approve(t.Context(), asktest.Request(t, time.Now(), sre))
	require.ErrorContains(t, err, "connection refused")
	require.NotContains(t, err.Error(), botToken)
}

func TestSlackIsLeftAloneForAsLongAsItAsks(t *testing.T) {
	w := open(t)
	c := channelOf(t, options(w))
	w.fails("chat.postMessage", "429")
	begun := time.Now()
	req := asktest.Request(t, time.Now(), sre)
	_, err := c.Approve(t.Context(), req)
	require.ErrorContains(t, err, "retry after 1s")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = c.Approve(ctx, req)
	require.ErrorContains(t, err, "Slack has asked to wait")
	require.Equal(t, 1, w.called("chat.postMessage"))
	_, err = c.Approve(t.Context(), req)
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(begun), time.Second)
	require.Len(t, w.in(channel), 1)
}

func TestTheMessageShowsWhatBecameOfTheQuestion(t *testing.T) {
	w := open(t)
	c := channelOf(t, options(w))
	panel := approval.Panel{Quorum: 2, Approvers: sre.Approvers, Escalation: &approval.Escalation{After: 5 * time.Minute, To: approval.Approvers{Groups: []string{"leads"}}}}
	req := asktest.Request(t, time.Now(), panel)
	_, err := c.Approve(t.Context(), req)
	require.NoError(t, err)
	tally, at := approval.NewTally(req), req.AskedAt
	say := func(by, group string, at time.Time) approval.Standing {
		_, err := tally.Cast(approval.Decision{Verdict: approval.Approved, By: by, Groups: []string{group}, Reason: "fine", Digest: req.Digest}, at)
		require.NoError(t, err)
		return tally.Standing(at)
	}
	voted := say("ann", "sre", at)
	require.NoError(t, c.Update(t.Context(), req, voted))
	m := w.in(channel)[0]
	require.Contains(t, words(m), "ann: fine")
	require.Contains(t, words(m), "1 of group sre")
	require.NotEmpty(t, button(m, "remedy_approve"))

	w.fails("chat.postMessage", "lost")
	require.Error(t, c.Update(t.Context(), req, tally.Standing(at.Add(5*time.Minute))))
	require.NoError(t, c.Update(t.Context(), req, tally.Standing(at.Add(5*time.Minute))))
	require.Len(t, w.in(channel), 1)
	require.Len(t, w.in(leads), 1, "an escalation is posted once")
	require.Contains(t, w.in(leads)[0].raw, `"usergroup_id":"S0LEADS"`)
	require.Contains(t, words(w.in(leads)[0]), "more people are asked")

	done := say("lea", "leads", at.Add(6*time.Minute))
	require.NoError(t, channelOf(t, options(w)).Update(t.Context(), req, done), "another process finds both messages")
	require.NoError(t, c.Update(t.Context(), req, done))
	for _, m := range append(w.in(channel), w.in(leads)...) {
		require.Contains(t, words(m), "Approved by ann, lea: fine")
		require.Empty(t, button(m, "remedy_approve"))
		require.Empty(t, button(m, "remedy_reject"))
		require.NotContains(t, words(m), "On silence")
		require.NotContains(t, m.raw, "usergroup", "an end mentions nobody")
	}
	edits := w.in(channel)[0].edits
	require.NoError(t, c.Update(t.Context(), req, voted))
	require.Equal(t, edits, w.in(channel)[0].edits, "an old standing does not bring the buttons back")
	require.Empty(t, button(w.in(channel)[0], "remedy_approve"))

	never := *req
	never.Key = "run-9/rec-004"
	for _, s := range []approval.Standing{{State: approval.Expired, Reason: "nobody answered in time"}, {State: approval.Withdrawn, Reason: "the run has ended"}} {
		require.NoError(t, c.Update(t.Context(), &never, s), "what was never posted need not be edited")
	}
	_, err = c.Approve(t.Context(), &never)
	require.NoError(t, err)
	require.Len(t, w.in(channel), 1, "what is closed is not asked any more")
}

func TestAnEscalationInTheSameChannelIsAMessageOfItsOwn(t *testing.T) {
	w := open(t)
	o := options(w)
	o.Escalation = ""
	panel := approval.Panel{Approvers: sre.Approvers, Escalation: &approval.Escalation{After: 5 * time.Minute, To: approval.Approvers{Groups: []string{"leads"}}}}
	req := asktest.Request(t, time.Now(), panel)
	_, err := channelOf(t, o).Approve(t.Context(), req)
	require.NoError(t, err)
	later := approval.NewTally(req).Standing(req.AskedAt.Add(5 * time.Minute))
	for range 2 { // processes that know of no message
		require.NoError(t, channelOf(t, o).Update(t.Context(), req, later))
		require.Len(t, w.in(channel), 2)
	}
	later.State, later.Reason = approval.Expired, "nobody answered in time"
	require.NoError(t, channelOf(t, o).Update(t.Context(), req, later))
	for _, m := range w.in(channel) {
		require.Empty(t, button(m, "remedy_approve"))
	}
}

func TestAClickIsADecision(t *testing.T) {
	w, d := open(t), &decisions{}
	c := channelOf(t, options(w))
	h := c.Handler(d)
	_, err := c.Approve(t.Context(), asktest.Request(t, time.Now(), sre))
	require.NoError(t, err)
	value := button(w.in(channel)[0], "remedy_approve")
	require.Equal(t, http.StatusOK, send(h, signed(click("U0ANN", "remedy_approve", value), time.Now(), secret)).Code)
	require.Equal(t, []approval.Decision{{Verdict: approval.Approved, By: "ann", Groups: []string{"sre"}, Digest: "sha256:0f3c"}}, d.all)
	require.Equal(t, []string{"run-1/rec-004"}, d.steps)
	require.Equal(t, []whisper{{channel, "U0ANN", "Your yes to step rec-004 of run run-1 was counted."}}, w.whispered())

	require.Equal(t, http.StatusOK, send(h, signed(click("U0BOB", "remedy_reject", value), time.Now(), secret)).Code)
	require.Equal(t, 1, d.count(), "a no waits for its reason")
	views := w.opened()
	require.Len(t, views, 1)
	require.Equal(t, http.StatusOK, send(h, signed(submit("U0BOB", views[0], " not on a Friday\n"), time.Now(), secret)).Code)
	require.Equal(t, approval.Decision{Verdict: approval.Rejected, By: "bob", Groups: []string{"sre"}, Digest: "sha256:0f3c", Reason: "not on a Friday"}, d.all[1])
	require.Equal(t, []whisper{{channel, "U0BOB", "Your no to step rec-004 of run run-1 was counted."}}, w.whispered())

	for err, want := range map[error]string{
		fmt.Errorf("%w: approved by ann", approval.ErrDecided): "Your yes was not counted: this gate has been decided: approved by ann.",
		approval.ErrExpired:     "Your yes was not counted: this request has expired.",
		approval.ErrVoted:       "Your yes was not counted: this identity has said yes before.",
		approval.ErrNotApprover: "Your yes was not counted: this identity may not decide.",
		errors.New("<!channel> <http://evil.example|x>\x1b\u202e"): "Your yes was not counted: &lt;!channel&gt; &lt;http[:]//evil.example|x&gt;&lt;U+001B&gt;&lt;U+202E&gt;.",
	} {
		d.answer = err
		require.Equal(t, http.StatusOK, send(h, signed(click("U0ANN", "remedy_approve", value), time.Now(), secret)).Code)
		require.Equal(t, []whisper{{channel, "U0ANN", want}}, w.whispered())
	}
	d.answer = nil
	w.fails("views.open", "expired_trigger_id")
	require.Equal(t, http.StatusOK, send(h, signed(click("U0BOB", "remedy_reject", value), time.Now(), secret)).Code)
	require.Contains(t, w.whispered()[0].text, "Click again")
	w.fails("chat.postEphemeral", "500")
	require.Equal(t, http.StatusInternalServerError, send(h, signed(click("U0ANN", "remedy_approve", value), time.Now(), secret)).Code, "Slack says that the click failed when we cannot")
}

func TestWhoClicksIsWhoTheMapSays(t *testing.T) {
	w, d := open(t), &decisions{}
	c := channelOf(t, options(w))
	h := c.Handler(d)
	value := `{"run":"run-1","step":"","digest":"sha256:0f3c"}`
	user := func(id string, change func(map[string]any)) {
		u := map[string]any{"id": id, "team_id": "T0TEAM", "is_email_confirmed": true, "profile": map[string]any{"email": "EVE@example.com"}}
		if change != nil {
			change(u)
		}
		w.users[id] = u
	}
	user("U0EVE", nil)
	user("U1", func(u map[string]any) { u["is_email_confirmed"] = false })
	user("U2", func(u map[string]any) { u["team_id"] = "T0OTHER" })
	user("U3", func(u map[string]any) { u["is_stranger"] = true })
	user("U4", func(u map[string]any) { u["deleted"] = true })
	user("U5", func(u map[string]any) { u["is_bot"] = true })
	user("U6", func(u map[string]any) { u["profile"] = map[string]any{} })
	user("U7", func(u map[string]any) { u["id"] = "U0EVE" })
	user("U8", func(u map[string]any) { u["profile"] = map[string]any{"email": "mallory@example.com"} })
	for _, action := range []string{"remedy_approve", "remedy_reject"} {
		for id := range w.users {
			if id == "U0EVE" {
				continue
			}
			require.Equal(t, http.StatusOK, send(h, signed(click(id, action, value), time.Now(), secret)).Code)
			said := w.whispered()
			require.Len(t, said, 1)
			require.Contains(t, said[0].text, "you ("+id+") are none of those who may decide here")
			require.Equal(t, id, said[0].user)
		}
	}
	require.Empty(t, w.opened(), "who may not decide is asked for no reason")
	require.Zero(t, d.count())
	require.Equal(t, http.StatusOK, send(h, signed(click("U0EVE", "remedy_approve", value), time.Now(), secret)).Code)
	require.Equal(t, "eve", d.all[0].By)
	require.Contains(t, w.whispered()[0].text, "Your yes to the plan of run run-1 was counted.")
}

func TestAnAttackOnTheClicksDecidesNothing(t *testing.T) {
	w, d := open(t), &decisions{}
	c := channelOf(t, options(w))
	h := c.Handler(d)
	value := `{"run":"run-1","step":"rec-004","digest":"sha256:0f3c"}`
	good := func() map[string]any { return click("U0ANN", "remedy_approve", value) }
	replayed := signed(good(), time.Now(), secret)
	body := url.Values{"payload": {`{"type":"block_actions"}`}}.Encode()
	for name, attack := range map[string]struct {
		request *http.Request
		status  int
	}{
		"a forged signature":         {signed(good(), time.Now(), "another secret of Slack"), http.StatusUnauthorized},
		"no signature":               {httptest.NewRequest(http.MethodPost, "/slack", strings.NewReader(body)), http.StatusUnauthorized},
		"a click of six minutes ago": {signed(good(), time.Now().Add(-6*time.Minute), secret), http.StatusUnauthorized},
		"a clock six minutes ahead":  {signed(good(), time.Now().Add(6*time.Minute), secret), http.StatusUnauthorized},
		"another body": {func() *http.Request {
			r := signed(good(), time.Now(), secret)
			other := signed(click("U0BOB", "remedy_approve", value), time.Now(), "another secret of Slack")
			other.Header = r.Header
			return other
		}(), http.StatusUnauthorized},
		"another time": {func() *http.Request {
			r := signed(good(), time.Now().Add(-time.Hour), secret)
			r.Header.Set("X-Slack-Request-Timestamp", strconv.FormatInt(time.Now().Unix(), 10))
			return r
		}(), http.StatusUnauthorized},
		"a time that is none": {func() *http.Request {
			r := signed(good(), time.Now(), secret)
			r.Header.Set("X-Slack-Request-Timestamp", "now")
			return r
		}(), http.StatusUnauthorized},
		"10 MB":                      {signedBody("payload="+strings.Repeat("x", 10<<20), time.Now(), secret), http.StatusRequestEntityTooLarge},
		"no payload":                 {signedBody("x=1", time.Now(), secret), http.StatusBadRequest},
		"GET":                        {httptest.NewRequest(http.MethodGet, "/slack", nil), http.StatusMethodNotAllowed},
		"another action":             {signed(click("U0ANN", "approve", value), time.Now(), secret), http.StatusOK},
		"a button that is not ours":  {signed(click("U0ANN", "remedy_approve", `{"run":"run-1"}`), time.Now(), secret), http.StatusOK},
		"a button with more in it":   {signed(click("U0ANN", "remedy_approve", `{"run":"run-1","digest":"d","by":"bob"}`), time.Now(), secret), http.StatusOK},
		"another kind of click":      {signed(map[string]any{"type": "shortcut", "user": map[string]any{"id": "U0ANN"}}, time.Now(), secret), http.StatusOK},
		"a dialog that is not ours":  {signed(submit("U0ANN", map[string]any{"callback_id": "x", "private_metadata": "{}"}, ""), time.Now(), secret), http.StatusOK},
		"a dialog without a button":  {signed(submit("U0ANN", map[string]any{"callback_id": "remedy_reject", "private_metadata": `{"channel":"C0APPROVALS"}`}, ""), time.Now(), secret), http.StatusOK},
		"a dialog of somebody else":  {signed(submit("U0WHO", map[string]any{"callback_id": "remedy_reject", "private_metadata": `{"channel":"C0APPROVALS","value":` + strconv.Quote(value) + `}`}, ""), time.Now(), secret), http.StatusOK},
		"a click of nobody in Slack": {signed(click("", "remedy_approve", value), time.Now(), secret), http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			w.users["U0WHO"], w.users[""] = map[string]any{"id": "U0WHO"}, map[string]any{"id": ""}
			require.Equal(t, attack.status, send(h, attack.request).Code)
			require.Zero(t, d.count())
		})
	}
	raw, err := io.ReadAll(replayed.Body)
	require.NoError(t, err)
	for i, want := range []int{http.StatusOK, http.StatusUnauthorized, http.StatusUnauthorized} {
		r := httptest.NewRequest(http.MethodPost, "/slack", bytes.NewReader(raw))
		r.Header = replayed.Header.Clone()
		if i == 2 {
			r.Header.Set("X-Slack-Signature", strings.Replace(strings.ToUpper(r.Header.Get("X-Slack-Signature")), "V0=", "v0=", 1))
		}
		require.Equal(t, want, send(h, r).Code, "a replayed click")
	}
	require.Equal(t, 1, d.count())
}

func TestSlackIsAnsweredInTimeWhateverADecisionTakes(t *testing.T) {
	w, d := open(t), &decisions{hold: make(chan struct{})}
	c := channelOf(t, options(w))
	begun := time.Now()
	require.Equal(t, http.StatusOK, send(c.Handler(d), signed(click("U0ANN", "remedy_approve", `{"run":"r","step":"s","digest":"d"}`), time.Now(), secret)).Code)
	require.Less(t, time.Since(begun), 3*time.Second)
	require.Zero(t, d.count())
	close(d.hold)
	c.Wait()
	require.Equal(t, 1, d.count(), "the click counts all the same")
	require.Len(t, w.whispered(), 1)
}

func TestHostileWordsStayTextAndFit(t *testing.T) {
	w := open(t) // which refuses what is more than text, and what is too long
	c := channelOf(t, options(w))
	req := asktest.Hostile(t, time.Now(), sre)
	_, err := c.Approve(t.Context(), req)
	require.NoError(t, err)
	require.NoError(t, c.Update(t.Context(), req, approval.Standing{
		Votes: []approval.Vote{{By: asktest.Markup + asktest.Controls, Reason: asktest.Markup + asktest.Controls}}, Missing: asktest.Markup + asktest.Controls,
	}))
	m := w.in(channel)[0]
	require.Contains(t, words(m), "<!channel> <!here> <@U0BOSS>", "it is shown all the same")
	require.NotContains(t, words(m), "http://evil")
	require.Contains(t, words(m), "<U+001B>")
	require.NoError(t, c.Update(t.Context(), req, approval.Standing{State: approval.Denied, By: asktest.Markup + asktest.Controls, Reason: asktest.Markup + asktest.Controls}))
	require.Equal(t, 2, w.in(channel)[0].edits)
}

func TestAWholePlanFits(t *testing.T) {
	w := open(t)
	c := channelOf(t, options(w))
	for _, steps := range []int{7, 60, 256} {
		req := asktest.Whole(t, steps, time.Now())
		_, err := c.Approve(t.Context(), req)
		require.NoError(t, err)
	}
	all := w.in(channel)
	require.Len(t, all, 3)
	require.NotContains(t, words(all[0]), "not shown")
	require.Contains(t, words(all[1]), "lines below")
	require.Contains(t, words(all[2]), "not shown: read the plan itself before you approve")
}

func TestWhatCannotBeSafeIsRefusedWhenTheChannelIsMade(t *testing.T) {
	w := open(t)
	for want, change := range map[string]func(*slack.Options){
		"Token is missing":                func(o *slack.Options) { o.Token = "" },
		"SigningSecret is missing":        func(o *slack.Options) { o.SigningSecret = "" },
		"are to be ids":                   func(o *slack.Options) { o.Channel = "#approvals" },
		"People is empty":                 func(o *slack.Options) { o.People = nil },
		"no Name":                         func(o *slack.Options) { o.People = map[string]slack.Person{"U0ANN": {}} },
		"neither a user's id":             func(o *slack.Options) { o.People = map[string]slack.Person{"ann": {Name: "ann"}} },
		"twice":                           func(o *slack.Options) { o.People["eve@example.com"] = slack.Person{Name: "eve"} },
		"no id of a user or user group":   func(o *slack.Options) { o.Mentions = map[string]string{"sre": "!channel"} },
		"https address: the token goes":   func(o *slack.Options) { o.API = "http://slack.example.com/api/" },
		"SigningSecret is missing or too": func(o *slack.Options) { o.SigningSecret = "short" },
	} {
		o := options(w)
		change(&o)
		_, err := slack.New(o)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), botToken)
	}
}
