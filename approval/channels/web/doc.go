// Package web puts requests for approval on web pages: a page per run with the drawing, what would change, what follows from
// each answer, votes, time left, a form for the answer, steps and events, and a list of what waits. The pages follow the
// run while they are open. The decision itself needs no JavaScript.
//
// A [Channel] is an [approval.Approver] and [approval.Updater], an executor.Observer, and an http.Handler. Every answer ends
// in Executor.Decide, which alone says whether it counts:
//
//	channel, err := web.New(web.Options{URL: "https://approvals.example.com", Key: key, Proxy: &web.Proxy{UserHeader: "X-Forwarded-User"}})
//	...
//	ex, err := executor.New(executor.Config{Handlers: handlers, Approver: channel, Observers: []executor.Observer{channel}})
//	...
//	channel.Attach(ex)
//	server := channel.Server()
//	server.Addr = "127.0.0.1:8080"
//	err = server.ListenAndServe()
//
// # Who decides
//
// Exactly one of [Proxy], [OIDC] and [Links] says who somebody is. There is no default, and no default key.
//
// # What is shown
//
// The words of a plan were written by a model. They are shown as text: nothing of them becomes markup, a link or a script,
// and the pages' Content-Security-Policy would run none. Whoever may look sees every run; [Options].Viewers says who may.
package web
