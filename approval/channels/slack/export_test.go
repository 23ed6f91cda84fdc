package slack

import (
	"time"

	"github.com/slack-go/slack"

	"github.com/remedykit/remedy/approval"
)

// Blocks are those of the message about a request at a time.
func (c *Channel) Blocks(req *approval.Request, s approval.Standing, now time.Time) ([]slack.Block, error) {
	return c.blocks(req, s, now, first)
}
