// Package email asks for approval by e-mail, and takes answers on a small page.
//
//	c, err := email.New(email.Options{
//		URL: "https://remedy.example.com/approve", Key: key, From: "Remedy <remedy@example.com>",
//		People: map[string]email.Person{"ann": {Address: "ann@example.com", Groups: []string{"sre"}}},
//		Server: email.Server{Address: "smtp.example.com:587", User: "remedy", Password: password},
//	})
//	ex, err := executor.New(executor.Config{Approver: approval.Broadcast(report, approval.Channel{Name: "email", Approver: c}), …})
//	http.Handle("/approve/", c.Handler(ex))
//
// Everybody who may decide gets a mail with the whole question and a link of their own. The link leads to a page that shows the
// question again, with two buttons: following the link, as programs that look into mail do, decides nothing. A link is good for one
// answer, for one question, as long as that waits; whoever has it can answer in that person's name, as whoever reads a person's
// mail could. What becomes of the question is mailed as an answer to the first mail.
//
// Words of models, handlers and callers are text in every part of a mail and on the page. Addresses of the web in them are
// written so that no mail program makes a link of them.
//
// A message has the same Message-ID whenever it is sent again. One that was sent and whose process died before it could note so
// may arrive twice.
package email
