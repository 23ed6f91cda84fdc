package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"github.com/remedykit/remedy/approval"
)

// Options of a Channel.
type Options struct {
	// Token is the bot's, such as xoxb-…. Required.
	Token string
	// SigningSecret is the app's: clicks are signed with it. Required.
	SigningSecret string
	// Channel is the id of the channel to ask in, such as C0123456789. Required.
	Channel string
	// Escalation is the id of the channel in which a question is asked as well once it escalates. Defaults to Channel, where it is asked
	// again below what was said since.
	Escalation string
	// People who may decide, by their user id (U0123456789) or by the confirmed e-mail address in their profile. Whether one may
	// decide about a question is the policy's to say. Required.
	People map[string]Person
	// Mentions are the ids of users and user groups (U…, S…) by the name of a person or group in a policy: who is to decide is
	// mentioned. Defaults to the users in People that are there by id.
	Mentions map[string]string
	// API is the address of Slack's. Defaults to https://slack.com/api/.
	API string
	// Client defaults to one that waits 10 seconds for an answer.
	Client *http.Client
}

// A Person is who a user of Slack is to a policy.
type Person struct {
	// Name is the identity that decides. Required.
	Name   string
	Groups []string
}

// A Channel asks in Slack. It is an [approval.Approver] and [approval.Updater], and safe for concurrent use. Where Slack asks it to wait,
// the next call waits as long, or until its context ends.
type Channel struct {
	api        *slack.Client
	token      string
	secret     string
	channel    string
	escalation string
	people     map[string]Person // addresses in lower case
	mentions   map[string]string // names in lower case
	clicks     sync.WaitGroup

	mu        sync.Mutex // guards what follows
	bot       string     // id of the app's bot; "" until it was asked for
	patience  time.Time  // no call before then
	questions map[string]*question
	seen      map[string]time.Time // signatures, until when they would be taken
}

var (
	channelID = regexp.MustCompile(`^[CGD][A-Z0-9]{2,30}$`)
	userID    = regexp.MustCompile(`^[UW][A-Z0-9]{2,30}$`)
	mentionID = regexp.MustCompile(`^[UWS][A-Z0-9]{2,30}$`)
)

var _ approval.Updater = (*Channel)(nil)

// New returns a Channel, or says which of the Options is missing or wrong. It does not call Slack.
func New(o Options) (*Channel, error) {
	if o.Escalation == "" {
		o.Escalation = o.Channel
	}
	switch {
	case o.Token == "":
		return nil, errors.New("slack: Token is missing: it is the bot's, such as xoxb-…")
	case len(o.SigningSecret) < 16:
		return nil, errors.New("slack: SigningSecret is missing or too short: it is in the app's Basic Information, and clicks cannot be trusted without")
	case !channelID.MatchString(o.Channel) || !channelID.MatchString(o.Escalation):
		return nil, fmt.Errorf("slack: Channel %q and Escalation %q are to be ids, such as C0123456789, not names", o.Channel, o.Escalation)
	case len(o.People) == 0:
		return nil, errors.New("slack: People is empty: nobody could decide")
	}
	c := &Channel{
		token: o.Token, secret: o.SigningSecret, channel: o.Channel, escalation: o.Escalation, people: map[string]Person{}, mentions: map[string]string{},
		questions: map[string]*question{}, seen: map[string]time.Time{},
	}
	for id, p := range o.People {
		switch {
		case normal(p.Name) == "":
			return nil, fmt.Errorf("slack: People has no Name for %q", id)
		case userID.MatchString(id):
			c.people[id] = p
			c.mentions[normal(p.Name)] = id
		case strings.Count(id, "@") == 1:
			if _, ok := c.people[normal(id)]; ok {
				return nil, fmt.Errorf("slack: People has %q twice", id)
			}
			c.people[normal(id)] = p
		default:
			return nil, fmt.Errorf("slack: People has %q, which is neither a user's id such as U0123456789 nor an e-mail address", id)
		}
	}
	for name, id := range o.Mentions {
		if !mentionID.MatchString(id) {
			return nil, fmt.Errorf("slack: Mentions has %q for %q, which is no id of a user or user group", id, name)
		}
		c.mentions[normal(name)] = id
	}
	if o.API == "" {
		o.API = slack.APIURL
	}
	u, err := url.Parse(o.API)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, errors.New("slack: API is to be an https address: the token goes there")
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: 10 * time.Second}
	}
	c.api = slack.New(o.Token, slack.OptionAPIURL(strings.TrimRight(o.API, "/")+"/"), slack.OptionHTTPClient(o.Client))
	return c, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// normal is a name as identities are compared.
func normal(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// A role is what a message is to its question.
type role string

const (
	first     role = "question"
	escalated role = "escalation"
)

// A post is where a message is.
type post struct {
	Channel string `json:"channel"`
	TS      string `json:"ts"`
}

// A question is a request that was posted, or is to be.
type question struct {
	busy    sync.Mutex // held while Slack is told about it, so that it is in order
	posts   map[role]post
	shown   int // progress of what the messages show
	expires time.Time
}

// question returns the one of a request, and forgets those whose time is up.
func (c *Channel) question(req *approval.Request) *question {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(c.questions, func(key string, q *question) bool { return key != req.Key && !now.Before(q.expires) })
	q := c.questions[req.Key]
	if q == nil {
		q = &question{posts: map[role]post{}, expires: req.ExpiresAt}
		c.questions[req.Key] = q
	}
	return q
}

// remember takes from a receipt where a former process posted.
func (q *question) remember(receipt string) {
	var p post
	if q.posts[first] == (post{}) && json.Unmarshal([]byte(receipt), &p) == nil && p.Channel != "" && p.TS != "" {
		q.posts[first] = p
	}
}

// progress orders the standings of one request.
func progress(s approval.Standing) int {
	n := 2 * len(s.Votes)
	if s.Escalated {
		n++
	}
	if s.State != approval.Open {
		n += closed
	}
	return n
}

const closed = 1 << 20 // progress of a request that has ended

// Approve posts the question, unless it is there already, and returns [approval.Pending].
func (c *Channel) Approve(ctx context.Context, req *approval.Request) (*approval.Decision, error) {
	q := c.question(req)
	q.busy.Lock()
	defer q.busy.Unlock()
	q.remember(req.Receipt)
	answer := &approval.Decision{Verdict: approval.Pending}
	if q.shown >= closed {
		return answer, nil
	}
	p, err := c.ensure(ctx, q, req, approval.NewTally(req).Standing(time.Now()), first)
	if err != nil {
		return nil, err
	}
	receipt, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("slack: %w", err)
	}
	answer.Receipt = string(receipt)
	return answer, nil
}

// Update edits the question's message, and asks others where it escalates.
func (c *Channel) Update(ctx context.Context, req *approval.Request, s approval.Standing) error {
	q := c.question(req)
	q.busy.Lock()
	defer q.busy.Unlock()
	if progress(s) < q.shown {
		return nil
	}
	q.remember(req.Receipt)
	roles := []role{first}
	if s.Escalated {
		roles = append(roles, escalated)
	}
	var errs []error
	for _, r := range roles {
		errs = append(errs, c.show(ctx, q, req, s, r))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	q.shown = progress(s)
	return nil
}

// show has one of a question's messages say how it stands.
func (c *Channel) show(ctx context.Context, q *question, req *approval.Request, s approval.Standing, r role) error {
	if r == escalated && s.State == approval.Open && q.posts[r] == (post{}) {
		_, err := c.ensure(ctx, q, req, s, r)
		return err
	}
	p, err := c.find(ctx, q, req, r)
	if err != nil || p == (post{}) { // what was never posted need not be edited
		return err
	}
	message, err := c.message(req, s, time.Now(), r)
	if err != nil {
		return err
	}
	return c.call(ctx, "edit the question", func() error {
		_, _, _, err := c.api.UpdateMessageContext(ctx, p.Channel, p.TS, message...)
		return err
	})
}

// ensure posts a message unless it is there.
func (c *Channel) ensure(ctx context.Context, q *question, req *approval.Request, s approval.Standing, r role) (post, error) {
	p, err := c.find(ctx, q, req, r)
	if err != nil || p != (post{}) {
		return p, err
	}
	message, err := c.message(req, s, time.Now(), r)
	if err != nil {
		return post{}, err
	}
	err = c.call(ctx, "post the question", func() error {
		var err error
		p.Channel, p.TS, err = c.api.PostMessageContext(ctx, c.where(r), message...)
		return err
	})
	if err != nil {
		return post{}, err
	}
	q.posts[r] = p
	return p, nil
}

func (c *Channel) where(r role) string {
	if r == escalated {
		return c.escalation
	}
	return c.channel
}
