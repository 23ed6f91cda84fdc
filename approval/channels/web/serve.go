package web

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Limits of a request.
const (
	mostBody     = 64 << 10
	readTimeout  = 10 * time.Second
	writeTimeout = 60 * time.Second
)

const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

func (c *Channel) routes() {
	c.mux = http.NewServeMux()
	handle := func(pattern string, h http.HandlerFunc) {
		method, path, _ := strings.Cut(pattern, " ")
		c.mux.HandleFunc(method+" "+c.path+path, h)
	}
	handle("GET /assets/{version}/{file}", c.asset)
	if _, ok := c.identity.(linked); ok {
		handle("GET /link/{token}", c.page)
		handle("GET /link/{token}/drawing.svg", c.drawing)
		handle("GET /link/{token}/live", c.live)
		handle("POST /link/{token}/decision", c.decision)
	} else {
		handle("GET /{$}", c.list)
		handle("GET /runs/{run}", c.page)
		handle("GET /runs/{run}/drawing.svg", c.drawing)
		handle("GET /runs/{run}/live", c.live)
		handle("POST /runs/{run}/decision", c.decision)
	}
	if s, ok := c.identity.(*signIn); ok {
		handle("GET "+callbackPath, s.callback)
	}
	c.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c.tell(w, r, problem{Status: http.StatusNotFound, Title: "There is no such page", Text: "Check the address, or open the link in the message again."})
	})
}

// serve guards every request before it is looked at.
func (c *Channel) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")
	if c.base.Scheme == "https" {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	// What cannot set deadlines, such as a recorder of a test, has no slow clients.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(readTimeout))
	_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
	if !c.host(r.Host) {
		c.tell(w, r, problem{Status: http.StatusMisdirectedRequest, Title: "This is not the address of these pages", Text: "They are reached at " + c.base.Host + " only."})
		return
	}
	if err := c.cross.Check(r); err != nil {
		c.tell(w, r, problem{Status: http.StatusForbidden, Title: "This came from another site", Text: "Nothing was decided. Decisions are made on the page itself."})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, mostBody)
	c.mux.ServeHTTP(w, r)
}

// host tells whether a request is for these pages.
func (c *Channel) host(host string) bool {
	host = strings.ToLower(host)
	port := ":443"
	if c.base.Scheme == "http" {
		port = ":80"
	}
	return strings.TrimSuffix(host, port) == strings.TrimSuffix(c.base.Host, port)
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// peer is the address that a request came from.
func peer(r *http.Request) (netip.Addr, bool) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(host)
	return ip.Unmap().WithZone(""), err == nil
}

// tooLarge tells whether reading failed because there was too much.
func tooLarge(err error) bool {
	var large *http.MaxBytesError
	return errors.As(err, &large)
}
