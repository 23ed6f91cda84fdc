package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"go.yaml.in/yaml/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/alertmanager"
	"github.com/remedykit/remedy/actions/artifact"
	"github.com/remedykit/remedy/actions/gitops"
	"github.com/remedykit/remedy/actions/httpcheck"
	"github.com/remedykit/remedy/actions/kube"
	"github.com/remedykit/remedy/actions/notify"
	"github.com/remedykit/remedy/actions/sealed"
	"github.com/remedykit/remedy/schema"
)

// A site is what only the site knows; --site names the file. Secrets are in the environment: the file names the variables.
type site struct {
	// Commands are those of kube.Commands.
	Commands     kube.Commands `yaml:"commands"`
	CleanupPaths []string      `yaml:"cleanupPaths"`
	// Artifacts is the folder for what steps leave. Defaults to one beside the journal.
	Artifacts string `yaml:"artifacts"`
	// SecretLength is how long new values of rotate_secrets are. 0: that is not configured.
	SecretLength int `yaml:"secretLength"`
	// SealedKeyEnv names a variable with a key, so that former values of secrets are kept in files and not in the cluster.
	SealedKeyEnv string `yaml:"sealedKeyEnv"`
	// HTTP is the template of a service's URL. Defaults to asking through the API server.
	HTTP         string `yaml:"http"`
	Alertmanager struct {
		URL      string `yaml:"url"`
		TokenEnv string `yaml:"tokenEnv"`
	} `yaml:"alertmanager"`
	Repositories map[string]struct {
		URL string `yaml:"url"`
		// GitHub is owner/name; without it no pull request is opened.
		GitHub    string `yaml:"github"`
		GitHubURL string `yaml:"githubUrl"`
		TokenEnv  string `yaml:"tokenEnv"`
	} `yaml:"repositories"`
	// Notify are senders by channel, type or project; the one called default gets the rest.
	Notify map[string]destination `yaml:"notify"`
	// Approvals are the channels of --approve.
	Approvals approvals `yaml:"approvals"`
}

// A destination is one of a webhook, Slack's webhook and an e-mail.
type destination struct {
	WebhookEnv string `yaml:"webhookEnv"`
	Webhook    string `yaml:"webhook"`
	SecretEnv  string `yaml:"secretEnv"`
	SlackEnv   string `yaml:"slackEnv"`
	SMTP       string `yaml:"smtp"`
	User       string `yaml:"user"`
	// PasswordEnv names the variable with the password of User at the mail server.
	PasswordEnv string   `yaml:"passwordEnv"`
	From        string   `yaml:"from"`
	To          []string `yaml:"to"`
}

func (d destination) sender() (notify.Sender, error) {
	switch {
	case d.Webhook != "" || d.WebhookEnv != "":
		w := notify.Webhook{URL: d.Webhook}
		var err error
		if d.WebhookEnv != "" {
			w.URL, err = secret(d.WebhookEnv)
		}
		if err == nil && d.SecretEnv != "" {
			var key string
			key, err = secret(d.SecretEnv)
			w.Secret = []byte(key)
		}
		return w, err
	case d.SlackEnv != "":
		u, err := secret(d.SlackEnv)
		return notify.Slack{URL: u}, err
	case d.SMTP != "":
		m := notify.SMTP{Address: d.SMTP, From: d.From, To: d.To, User: d.User}
		var err error
		if d.PasswordEnv != "" {
			m.Password, err = secret(d.PasswordEnv)
		}
		return m, err
	}
	return nil, errors.New("give one of webhook, webhookEnv, slackEnv and smtp")
}

// secret is the value of a variable that has to be set.
func secret(name string) (string, error) {
	if v := os.Getenv(name); v != "" {
		return v, nil
	}
	return "", fmt.Errorf("the environment variable %s is not set", name)
}

// readSite reads a site file; none is an empty site.
func (a *app) readSite(ctx context.Context, name string) (*site, error) {
	s := &site{}
	if name == "" {
		return s, nil
	}
	data, err := a.readSettings(ctx, name)
	if err != nil {
		return nil, err
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	err = d.Decode(s)
	if e, ok := errors.AsType[*yaml.TypeError](err); ok {
		for i, problem := range e.Errors {
			e.Errors[i], _, _ = strings.Cut(problem, " in type ")
		}
		err = errors.New(strings.Join(e.Errors, "; "))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// restConfig finds a cluster as kubectl does: the file, else KUBECONFIG, else ~/.kube/config, else the pod that this runs in.
func restConfig(file string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = file
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, errors.New("no cluster: give --kubeconfig FILE, or set KUBECONFIG")
	}
	if err != nil {
		return nil, fmt.Errorf("no cluster: %w", err)
	}
	return config, nil
}

// restNamespace is the namespace that kubectl would use.
func restNamespace(file string) string {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = file
	namespace, _, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).Namespace()
	if err != nil || namespace == "" {
		return "default"
	}
	return namespace
}

// cluster connects to the cluster of the flags. state is the journal's folder: what else is kept lies beside it.
func (a *app) cluster(ctx context.Context, f *clusterFlags, state string) (*kube.Cluster, actions.Handlers, error) {
	s, err := a.readSite(ctx, f.site)
	if err != nil {
		return nil, nil, err
	}
	config, err := restConfig(f.kubeconfig)
	if err != nil {
		return nil, nil, err
	}
	if s.Artifacts == "" {
		s.Artifacts = state + "-artifacts"
	}
	o, err := s.options()
	if err == nil && o.Asker == nil {
		o.Asker, err = httpcheck.ServiceProxy(config)
	}
	if err != nil {
		return nil, nil, err
	}
	o.Artifacts = artifact.Folder(s.Artifacts)
	if s.SecretLength > 0 {
		o.Generate = func(context.Context, schema.Target, string) ([]byte, error) {
			text := ""
			for len(text) < s.SecretLength {
				text += rand.Text()
			}
			return []byte(text[:s.SecretLength]), nil
		}
	}
	if s.SealedKeyEnv != "" {
		text, err := secret(s.SealedKeyEnv)
		if err != nil {
			return nil, nil, err
		}
		key, err := sealed.ParseKey(text)
		if err != nil {
			return nil, nil, err
		}
		if o.Sealed, err = sealed.Folder(state+"-sealed", key); err != nil {
			return nil, nil, err
		}
	}
	c, err := kube.New(config, o)
	if err != nil {
		return nil, nil, err
	}
	all, err := s.handlers(c)
	if err == nil {
		err = reachable(ctx, config)
	}
	return c, all, err
}

// options are those of the site that need neither a cluster nor a secret.
func (s *site) options() (o kube.Options, err error) {
	o = kube.Options{Commands: s.Commands, CleanupPaths: s.CleanupPaths, Self: kube.SelfFromEnv(os.Getenv)}
	if s.HTTP != "" {
		o.Asker, err = httpcheck.Template(s.HTTP, nil)
	}
	return o, err
}

// reach is how long the API server may take to answer before anything begins. A step is more patient.
const reach = 5 * time.Second

// reachable asks the API server for its version: a server that is not there is said at once, and once.
func reachable(ctx context.Context, config *rest.Config) error {
	own := rest.CopyConfig(config)
	own.Timeout = reach
	client, err := discovery.NewDiscoveryClientForConfig(own)
	if err != nil {
		return fmt.Errorf("no cluster: %w", err)
	}
	_, err = client.RESTClient().Get().AbsPath("/version").DoRaw(ctx)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the API server at %s does not know the runner: check the credentials in the kubeconfig", config.Host)
	case err == nil, apierrors.IsForbidden(err):
		return nil
	}
	return fmt.Errorf("the API server at %s cannot be reached: %w", config.Host, err)
}

// handlers are those of the cluster and of the site. What the site has not configured says so in the dry run, before anything
// happens.
func (s *site) handlers(c *kube.Cluster) (actions.Handlers, error) {
	all := c.Handlers()
	add := func(some actions.Handlers) {
		for name, h := range some {
			all[name] = h
		}
	}
	if s.Alertmanager.URL != "" {
		o := alertmanager.Options{URL: s.Alertmanager.URL}
		if s.Alertmanager.TokenEnv != "" {
			token, err := secret(s.Alertmanager.TokenEnv)
			if err != nil {
				return nil, err
			}
			o.Client = &http.Client{Timeout: 10 * time.Second, Transport: bearer(token)}
		}
		am, err := alertmanager.New(o)
		if err != nil {
			return nil, err
		}
		add(am.Handlers())
	}
	if len(s.Repositories) > 0 {
		o := gitops.Options{Repositories: map[string]gitops.Repository{}}
		for name, r := range s.Repositories {
			token, err := "", error(nil)
			if r.TokenEnv != "" {
				if token, err = secret(r.TokenEnv); err != nil {
					return nil, err
				}
			}
			to := gitops.Repository{URL: r.URL, Auth: login(token)}
			if owner, repository, ok := strings.Cut(r.GitHub, "/"); ok {
				to.Forge = gitops.GitHub{Owner: owner, Name: repository, Token: token, URL: r.GitHubURL}
			}
			o.Repositories[name] = to
		}
		g, err := gitops.New(o)
		if err != nil {
			return nil, err
		}
		add(g.Handlers())
	}
	if len(s.Notify) > 0 {
		o := notify.Options{Senders: map[string]notify.Sender{}, Artifacts: artifact.Folder(s.Artifacts)}
		for name, d := range s.Notify {
			sender, err := d.sender()
			if err != nil {
				return nil, fmt.Errorf("notify %s: %w", name, err)
			}
			if o.Senders[name] = sender; name == "default" {
				o.Default = sender
			}
		}
		n, err := notify.New(o)
		if err != nil {
			return nil, err
		}
		add(n.Handlers())
	}
	for _, spec := range actions.Canonical().Specs() {
		if all[spec.Name] == nil {
			all[spec.Name] = unconfigured(spec.Name)
		}
	}
	return all, nil
}

func login(token string) transport.AuthMethod {
	if token == "" {
		return nil
	}
	return &githttp.BasicAuth{Username: "x-access-token", Password: token}
}

// bearer sends a token with every request.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// unconfigured is the handler of an action for which the site file says nothing.
type unconfigured string

func (u unconfigured) err() error {
	key := map[string]string{"correlate_alerts": "alertmanager", "silence_alerts": "alertmanager", "update_git_manifests": "repositories", "notify_only": "notify"}[string(u)]
	return actions.Permanent(fmt.Errorf("%s is not configured: give %s in the file of --site", string(u), key))
}

func (u unconfigured) Execute(context.Context, *actions.Request) (*actions.Result, error) {
	return nil, u.err()
}

func (u unconfigured) DryRun(context.Context, *actions.Request) (*actions.Preview, error) {
	return nil, u.err()
}
