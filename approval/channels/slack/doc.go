// Package slack asks for approval in a channel of Slack, and takes the clicks.
//
//	c, err := slack.New(slack.Options{
//		Token: token, SigningSecret: secret, Channel: "C0123456789",
//		People: map[string]slack.Person{"ann@example.com": {Name: "ann", Groups: []string{"sre"}}},
//	})
//	ex, err := executor.New(executor.Config{Approver: approval.Broadcast(report, approval.Channel{Name: "slack", Approver: c}), …})
//	http.Handle("/slack", c.Handler(ex))
//
// The app needs the scopes chat:write and channels:history (groups:history for a private channel), users:read and
// users:read.email when Options.People has addresses, and the address of the Handler as its Interactivity Request URL. It must be
// in the channel.
//
// A question is one message, with all that a person needs and two buttons; a no asks for its reason in a dialog. The message is
// edited as people answer, and loses its buttons when the question is closed. A question carries its key in the metadata of
// its message, and the channel's history is looked at before it is posted: neither a restart nor a lost answer of Slack posts it twice.
//
// A click counts when Slack has signed it within the last five minutes, was not seen before, and comes from a user whom
// Options.People names; the executor decides the rest. Whose click does not count is told so, and nobody else is.
//
// Words of models, handlers and callers are literal elements of rich text, in which Slack sees no mention, no link and no
// markup.
package slack
