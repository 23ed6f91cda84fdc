package web

import (
	"strings"

	"github.com/remedykit/remedy/approval"
)

// FormToken is the token of a form that a proxied person would be shown.
func FormToken(c *Channel, name string, req *approval.Request) string {
	return c.formToken(person{name: name}, req.Run, req.Key, req.Digest)
}

// LinkToken is the token of a form that the holder of a link would be shown.
func LinkToken(c *Channel, link, name string, req *approval.Request) string {
	_, token, _ := strings.Cut(link, "/link/")
	return c.formToken(person{name: name, session: linkID(token)}, req.Run, req.Key, req.Digest)
}

// Kept is how many runs are remembered.
func Kept(c *Channel) int {
	c.shelf.mu.Lock()
	defer c.shelf.mu.Unlock()
	return len(c.shelf.runs)
}

// Events is how many events of a run are kept.
func Events(c *Channel, run string) int {
	c.shelf.mu.Lock()
	defer c.shelf.mu.Unlock()
	return len(c.shelf.runs[run].events)
}
