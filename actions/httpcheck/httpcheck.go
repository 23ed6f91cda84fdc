// Package httpcheck asks services over HTTP whether they are well, from wherever the runner is: by a URL that is made from the
// service's name ([Template]), through the API server ([ServiceProxy]), or through a forwarded port of one of its pods
// ([PortForward]), so that "endpoint": "/health" works from outside of the cluster too.
//
// [Handlers] are health_check and verify_recovery for services; package kube has the same for workloads and pods, and takes
// an [Asker] for its endpoints.
//
// An endpoint was written by a model: it is the path, and perhaps the query, of a request to the service. A whole URL is
// refused. Redirects are not followed: they are the answer.
package httpcheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/directclient"
)

// An Asker asks an endpoint of a service and returns the HTTP status that it answers with. An error means that it could not be
// asked, and is classed. It must be safe for concurrent use.
type Asker interface {
	Ask(ctx context.Context, namespace, service, endpoint string) (status int, err error)
}

// patience bounds one question.
const patience = 5 * time.Second

// maxAnswer is how much is read of an answer, so that its connection can be used again.
const maxAnswer = 64 << 10

var label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// checked is the path and the query of an endpoint, for a service and a namespace that can be names.
func checked(namespace, service, endpoint string) (*url.URL, error) {
	if !label.MatchString(namespace) || !label.MatchString(service) {
		return nil, actions.Permanent(fmt.Errorf("%q in namespace %q cannot be a service", service, namespace))
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" {
		return nil, actions.Permanent(fmt.Errorf("endpoint %q: give the path of the service, such as /health", endpoint))
	}
	clean := path.Clean("/" + u.Path)
	if strings.HasSuffix(u.Path, "/") && clean != "/" { // to many services that is another path
		clean += "/"
	}
	return &url.URL{Path: clean, RawQuery: u.RawQuery}, nil
}

// Template returns an Asker for services that have a URL, such as "http://{service}.{namespace}.svc:8080" or
// "https://shop.example.com/{service}"; the endpoint's path is joined to it. A nil client is one of its own.
func Template(text string, client *http.Client) (Asker, error) {
	u, err := url.Parse(strings.NewReplacer("{service}", "service", "{namespace}", "namespace").Replace(text))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || !strings.Contains(text, "{service}") {
		return nil, errors.New(`httpcheck: a template is an http or https URL that contains {service}, and perhaps {namespace}`)
	}
	return template{text, directclient.Of(client, 0)}, nil
}

type template struct {
	text   string
	client *http.Client
}

func (t template) Ask(ctx context.Context, namespace, service, endpoint string) (int, error) {
	e, err := checked(namespace, service, endpoint)
	if err != nil {
		return 0, err
	}
	u, err := url.Parse(strings.NewReplacer("{service}", service, "{namespace}", namespace).Replace(t.text))
	if err != nil {
		return 0, actions.Permanent(err)
	}
	u = u.JoinPath(e.Path)
	u.RawQuery = e.RawQuery
	return get(ctx, t.client, u.String())
}

func get(ctx context.Context, client *http.Client, where string) (int, error) {
	status, _, err := fetch(ctx, client, where)
	return status, err
}

// fetch asks, and returns the status and the beginning of the answer.
func fetch(ctx context.Context, client *http.Client, where string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return 0, nil, actions.Permanent(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, directclient.Failed("GET "+req.URL.Path, err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, body, nil
}
