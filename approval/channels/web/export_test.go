package web

import "github.com/remedykit/remedy/approval"

// FormToken is the token of a form that a proxied person would be shown.
func FormToken(c *Channel, name string, req *approval.Request) string {
	return c.formToken(person{name: name}, req.Run, req.Key, req.Digest)
}
