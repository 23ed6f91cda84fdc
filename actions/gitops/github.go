package gitops

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/directclient"
)

// A GitHub is the Forge of a repository at GitHub, by its REST API. Owner, Name and Token are required; the token needs the
// right to write pull requests.
type GitHub struct {
	Owner, Name, Token string
	// URL is that of the API. Defaults to https://api.github.com.
	URL string
	// Client defaults to one that waits 20 seconds for an answer. Redirects are not followed.
	Client *http.Client
}

type pull struct {
	Number   int        `json:"number"`
	URL      string     `json:"html_url"`
	State    string     `json:"state"`
	MergedAt *time.Time `json:"merged_at"`
	Head     struct {
		Ref   string `json:"ref"`
		Label string `json:"label"`
	} `json:"head"`
	Base struct {
		Ref string `json:"ref"`
	} `json:"base"`
}

func (p pull) request() PullRequest {
	return PullRequest{Number: p.Number, URL: p.URL, Open: p.State == "open", Merged: p.MergedAt != nil}
}

// Open opens a pull request. GitHub reads what it says as markup, so the text is set as code.
func (g GitHub) Open(ctx context.Context, head, base, title, text string) (PullRequest, error) {
	var b strings.Builder
	for line := range strings.Lines(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)) { // each ends a line of markup
		b.WriteString("    " + strings.TrimRight(line, "\n") + "\n")
	}
	var p pull
	err := g.call(ctx, http.MethodPost, "", nil, map[string]any{"title": strings.ReplaceAll(title, "@", "@\u200b"), "head": head, "base": base, "body": b.String(), "maintainer_can_modify": true}, &p)
	return p.request(), err
}

// Find finds the pull requests from a branch, oldest first.
func (g GitHub) Find(ctx context.Context, head string) ([]PullRequest, error) {
	return g.list(ctx, url.Values{"head": {g.Owner + ":" + head}, "state": {"all"}}, func(p pull) bool {
		return p.Head.Ref == head && strings.EqualFold(p.Head.Label, g.Owner+":"+head)
	})
}

// Into finds the open pull requests into a branch.
func (g GitHub) Into(ctx context.Context, base string) ([]PullRequest, error) {
	return g.list(ctx, url.Values{"base": {base}, "state": {"open"}}, func(p pull) bool { return p.Base.Ref == base })
}

// list lists pull requests, oldest first. Not everything that speaks this API heeds what is asked for, and what is found gets
// closed: it is looked at again.
func (g GitHub) list(ctx context.Context, query url.Values, meant func(pull) bool) (found []PullRequest, err error) {
	query.Set("sort", "created")
	query.Set("direction", "asc")
	query.Set("per_page", "100")
	var all []pull
	if err := g.call(ctx, http.MethodGet, "", query, nil, &all); err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b pull) int { return cmp.Compare(a.Number, b.Number) })
	for _, p := range all {
		if meant(p) {
			found = append(found, p.request())
		}
	}
	return found, nil
}

// Close closes a pull request.
func (g GitHub) Close(ctx context.Context, number int) error {
	return g.call(ctx, http.MethodPatch, "/"+strconv.Itoa(number), nil, map[string]any{"state": "closed"}, nil)
}

const maxAnswer = 4 << 20

func (g GitHub) call(ctx context.Context, method, path string, query url.Values, body, into any) error {
	u, err := url.Parse(cmp.Or(g.URL, "https://api.github.com"))
	if err != nil {
		return actions.Permanent(errors.New("gitops: GitHub.URL is none"))
	}
	u = u.JoinPath("repos", g.Owner, g.Name, "pulls"+path)
	u.RawQuery = query.Encode()
	var sent io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return actions.Permanent(err)
		}
		sent = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), sent)
	if err != nil {
		return actions.Permanent(err)
	}
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	req.Header.Set("Authorization", "Bearer "+g.Token)
	resp, err := directclient.Of(g.Client, 20*time.Second).Do(req)
	if err != nil {
		return directclient.Failed("gitops: GitHub", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return actions.Transient(fmt.Errorf("gitops: GitHub: %w", err))
	}
	if resp.StatusCode < 300 {
		if into == nil {
			return nil
		}
		if err := json.Unmarshal(data, into); err != nil {
			return actions.Permanent(fmt.Errorf("gitops: GitHub: %s %s: the answer is no JSON of its API: set URL to that: %w", method, u.Path, err))
		}
		return nil
	}
	return g.refused(method+" "+u.Path, resp, data)
}

// hints is what to do about a status.
var hints = map[int]string{
	http.StatusUnauthorized: "give it a Token that is valid",
	http.StatusForbidden:    "give the Token the right to read and write pull requests",
	http.StatusNotFound:     "look whether Owner, Name and URL are right, and whether the Token may see the repository",
}

func (g GitHub) refused(what string, resp *http.Response, body []byte) error {
	var said struct {
		Message string
		Errors  []struct{ Message string }
	}
	_ = json.Unmarshal(body, &said)
	text := said.Message
	for _, one := range said.Errors {
		if one.Message != "" {
			text += ": " + one.Message
		}
	}
	if resp.StatusCode < 400 { // its repository has got another name: a change would be sent on as a question
		return actions.Permanent(fmt.Errorf("gitops: GitHub: %s: %s: the repository has moved: set Owner and Name, or URL, to where it is", what, resp.Status))
	}
	err := directclient.Refused("gitops: GitHub: "+what, resp, text, hints)
	limited := (resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusTooManyRequests) &&
		(resp.Header.Get("X-RateLimit-Remaining") == "0" || resp.Header.Get("Retry-After") != "")
	switch {
	case limited:
		wait := directclient.RetryAfter(resp.Header)
		if reset, err := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil && wait == 0 {
			wait = max(0, time.Until(time.Unix(reset, 0)))
		}
		return &actions.HandlerError{Transient: true, RetryAfter: wait, Err: fmt.Errorf("gitops: GitHub: %s: %s: too much was asked for: %s", what, resp.Status, directclient.Line(text))}
	case resp.StatusCode == http.StatusUnprocessableEntity && strings.Contains(text, "pull request already exists"): // the answer got lost, and the list lags behind
		return actions.Transient(err)
	}
	return err
}
