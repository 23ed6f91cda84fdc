// Package notify has the handler of notify_only: it tells people something by webhook, Slack or e-mail.
//
//	n, err := notify.New(notify.Options{
//		Senders: map[string]notify.Sender{"jira": notify.Webhook{URL: address, Secret: key}},
//		Default: notify.SMTP{Address: "mail:25", From: "remedy@example.com", To: []string{"oncall@example.com"}},
//	})
//
// Where messages go is the site's to say; a plan only names a channel, a type or a project of those. What a message says was
// written by a model, so Slack and mails show it as plain text: no mention, no link and no header comes of it. A webhook gets it
// as it is, for the receiver to escape.
//
// A message is delivered at least once. A receiver that is away for a while is tried again until the step's time is up; no try
// takes more than half of the time that is left. What a receiver has taken is never sent again, but when its answer gets lost, or
// the runner dies before it has noted it, nobody can tell whether the message has arrived, and it is sent again: twice is better
// than never. Webhooks can know a second one by its Idempotency-Key and mail servers by its Message-ID; in Slack it is there
// twice.
package notify
