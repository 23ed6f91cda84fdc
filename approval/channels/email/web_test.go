package email_test

import (
	"github.com/remedykit/remedy/approval/channels/email"
	"github.com/remedykit/remedy/approval/channels/web"
)

var _ email.Links = (*web.Links)(nil)
