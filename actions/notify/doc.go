// Package notify has the handler of notify_only: it tells people something by webhook, Slack or e-mail.
//
//	n, err := notify.New(notify.Options{
//		Senders: map[string]notify.Sender{"jira": notify.Webhook{URL: address, Secret: key}},
//		Default: notify.SMTP{Address: "mail:25", From: "remedy@example.com", To: []string{"oncall@example.com"}},
//	})
//
// Where messages go is the site's to say; a plan only names a channel, a type or a project of those. What a message says was
// written by a model, so every medium shows it as plain text: no mention, no link and no header comes of it.
package notify
