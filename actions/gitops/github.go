package gitops

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
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

// Find finds the newest pull request of a branch.
func (g GitHub) Find(ctx context.Context, head string) (PullRequest, bool, error) {
	var all []pull
	err := g.call(ctx, http.MethodGet, "", url.Values{"head": {g.Owner + ":" + head}, "state": {"all"}, "per_page": {"1"}}, nil, &all)
	if err != nil || len(all) == 0 {
		return PullRequest{}, false, err
	}
	return all[0].request(), true, nil
}

// Close closes a pull request.
func (g GitHub) Close(ctx context.Context, number int) error {
	return g.call(ctx, http.MethodPatch, "/"+strconv.Itoa(number), nil, map[string]any{"state": "closed"}, nil)
}

const maxAnswer = 4 << 20

func (g GitHub) call(ctx context.Context, method, path string, query url.Values, body, into any) error {
	u, err := url.Parse(cmp.Or(g.URL, "https://api.github.com"))
	if err != nil {
		return actions.Permanent(fmt.Errorf("gitops: GitHub.URL: %w", err))
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
		return actions.Permanent(json.Unmarshal(data, into))
	}
	var said struct{ Message string }
	_ = json.Unmarshal(data, &said)
	if resp.StatusCode < 400 { // its repository has got another name: a change would be sent on as a question
		said.Message = "the repository has moved: set Owner and Name, or URL, to where it is"
	}
	err = fmt.Errorf("gitops: GitHub: %s %s: %s %.200s", method, u.Path, resp.Status, said.Message)
	limited := resp.StatusCode == http.StatusForbidden && (resp.Header.Get("X-RateLimit-Remaining") == "0" || resp.Header.Get("Retry-After") != "")
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500 || limited {
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return &actions.HandlerError{Transient: true, RetryAfter: time.Duration(max(0, seconds)) * time.Second, Err: err}
	}
	return actions.Permanent(err)
}
