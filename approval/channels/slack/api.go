package slack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/internal/wording"
)

// event is the type of the metadata by which a message is known again.
const event = "remedy_approval"

func metadata(req *approval.Request, r role) slack.SlackMetadata {
	sum := sha256.Sum256([]byte(req.Key))
	return slack.SlackMetadata{EventType: event, EventPayload: map[string]any{"key": hex.EncodeToString(sum[:]), "role": string(r)}}
}

const (
	skew       = 10 * time.Minute // between our clock and Slack's
	pageSize   = 200
	mostPages  = 10
	mostWaited = 1000 * time.Hour
)

// find returns where a message is, or the zero post when it was never posted. Another app's message is none, whatever it says of itself.
func (c *Channel) find(ctx context.Context, q *question, req *approval.Request, r role) (post, error) {
	if p := q.posts[r]; p != (post{}) {
		return p, nil
	}
	bot, err := c.self(ctx)
	if err != nil {
		return post{}, err
	}
	want := metadata(req, r)
	params := &slack.GetConversationHistoryParameters{
		ChannelID: c.where(r), Limit: pageSize, IncludeAllMetadata: true, Oldest: strconv.FormatInt(req.AskedAt.Add(-skew).Unix(), 10) + ".000000",
	}
	for range mostPages {
		var page *slack.GetConversationHistoryResponse
		err := c.call(ctx, "look whether the question is posted already", func() error {
			var err error
			page, err = c.api.GetConversationHistoryContext(ctx, params)
			return err
		})
		if err != nil {
			return post{}, err
		}
		for _, m := range page.Messages {
			has := m.Metadata
			if has.EventType == event && m.BotID == bot && has.EventPayload["key"] == want.EventPayload["key"] && has.EventPayload["role"] == want.EventPayload["role"] {
				p := post{c.where(r), m.Timestamp}
				q.posts[r] = p
				return p, nil
			}
		}
		if params.Cursor = page.ResponseMetaData.NextCursor; !page.HasMore || params.Cursor == "" {
			return post{}, nil
		}
	}
	return post{}, fmt.Errorf("slack: cannot tell whether the question is posted already: channel %s has more than %d messages since it was first asked", c.where(r), mostPages*pageSize)
}

// self is the id of the app's bot.
func (c *Channel) self(ctx context.Context) (string, error) {
	c.mu.Lock()
	bot := c.bot
	c.mu.Unlock()
	if bot != "" {
		return bot, nil
	}
	err := c.call(ctx, "look who the token is for", func() error {
		who, err := c.api.AuthTestContext(ctx)
		if err == nil {
			if bot = who.BotID; bot == "" {
				err = errors.New("the token is no bot's")
			}
		}
		return err
	})
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bot = bot
	return bot, nil
}

// call calls Slack, not before the time that Slack has asked for, and words its error.
func (c *Channel) call(ctx context.Context, what string, f func() error) error {
	c.mu.Lock()
	wait := time.Until(c.patience)
	c.mu.Unlock()
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fmt.Errorf("slack: cannot %s: Slack has asked to wait for %s more: %w", what, wait.Round(time.Second), context.Cause(ctx))
		}
	}
	err := f()
	if err == nil {
		return nil
	}
	if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		c.mu.Lock()
		c.patience = time.Now().Add(min(max(limited.RetryAfter, time.Second), mostWaited))
		c.mu.Unlock()
	}
	if ctx.Err() != nil {
		return fmt.Errorf("slack: cannot %s in time: %w", what, context.Cause(ctx))
	}
	return fmt.Errorf("slack: cannot %s: %s", what, c.word(err))
}

// word says what Slack says, and what to do about it, without what is secret.
func (c *Channel) word(err error) string {
	text := strings.NewReplacer(c.token, "(token)", c.secret, "(signing secret)").Replace(err.Error())
	text = wording.Visible(wording.Cut(text, 300))
	answer, ok := errors.AsType[slack.SlackErrorResponse](err)
	if !ok {
		return text
	}
	switch answer.Err {
	case "not_in_channel":
		text += ": invite the app to the channel"
	case "channel_not_found":
		text += ": check the id of the channel, and invite the app to it when it is private"
	case "missing_scope":
		text += ": add the scope " + wording.Visible(wording.Cut(answer.Needed, 100)) + " to the app and install it again"
	case "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired":
		text += ": the app needs a new token"
	case "is_archived":
		text += ": take the channel out of the archive, or name another"
	case "invalid_blocks", "msg_too_long", "msg_blocks_too_long":
		text += ": " + wording.Visible(wording.Cut(strings.Join(answer.ResponseMetadata.Messages, "; "), 300))
	}
	return text
}
