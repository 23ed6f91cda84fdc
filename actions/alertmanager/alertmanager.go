package alertmanager

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
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/directclient"
)

// Options of an Alertmanager. Only URL is required.
type Options struct {
	// URL is the address, with the path under which it serves, if any.
	URL string
	// Client sends the requests; it may add credentials. Redirects are not followed. Defaults to one that waits 10 seconds for an
	// answer.
	Client *http.Client
	// CreatedBy is who makes silences. Defaults to "remedy".
	CreatedBy string
}

// An Alertmanager carries out what concerns alerts. It is safe for concurrent use.
type Alertmanager struct {
	base      *url.URL
	client    *http.Client
	createdBy string
}

// New returns an Alertmanager. It does not connect yet.
func New(o Options) (*Alertmanager, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("alertmanager: Options.URL is an http or https address, such as http://alertmanager:9093")
	}
	return &Alertmanager{u.JoinPath("api/v2"), directclient.Of(o.Client, 10*time.Second), cmp.Or(o.CreatedBy, "remedy")}, nil
}

// Handlers are correlate_alerts and silence_alerts.
func (a *Alertmanager) Handlers() actions.Handlers {
	return actions.Handlers{"correlate_alerts": correlate{a}, "silence_alerts": silence{a}}
}

// advice is what to do about a status.
var advice = map[int]string{
	http.StatusUnauthorized: "have Options.Client log in",
	http.StatusForbidden:    "give its user the right to read alerts and to write silences",
	http.StatusNotFound:     "set Options.URL to where an Alertmanager with the API v2 serves, with its path",
}

// The bounds of what an Alertmanager may answer, and of how long a dry run waits for one that does not answer; a step waits
// until its time is up.
const (
	maxAnswer  = 32 << 20
	dryRunTime = 5 * time.Second
)

// call sends a request and decodes the answer. query may be nil, body and into too.
func (a *Alertmanager) call(ctx context.Context, method, path string, query url.Values, body, into any) error {
	var sent io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return actions.Permanent(err)
		}
		sent = bytes.NewReader(data)
	}
	u := a.base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), sent)
	if err != nil {
		return actions.Permanent(fmt.Errorf("alertmanager: %w", err))
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.client.Do(req)
	if err != nil {
		return directclient.Failed("alertmanager: "+method+" "+path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return actions.Transient(fmt.Errorf("alertmanager: %s %s: %w", method, path, err))
	case resp.StatusCode >= 300:
		return directclient.Refused("alertmanager: "+method+" "+path, resp, string(data), advice)
	case len(data) > maxAnswer:
		return actions.Permanent(fmt.Errorf("alertmanager: %s %s: the answer is longer than %d bytes", method, path, maxAnswer))
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return actions.Permanent(fmt.Errorf("alertmanager: %s %s: the answer is no JSON of the API v2: %w", method, path, err))
	}
	return nil
}
