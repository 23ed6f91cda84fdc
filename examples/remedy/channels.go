package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/channels/email"
	"github.com/remedykit/remedy/approval/channels/slack"
	"github.com/remedykit/remedy/approval/channels/web"
	"github.com/remedykit/remedy/approval/crd"
	"github.com/remedykit/remedy/executor"
)

// approvals are the channels of a site file. Secrets are in the environment: the file names the variables.
type approvals struct {
	// KeyEnv names a variable with the key that forms, sessions and links are signed with: 32 bytes or more, in base64.
	KeyEnv string `yaml:"keyEnv"`
	Web    struct {
		// URL is where people reach the pages; proxy or oidc says who somebody is.
		URL   string `yaml:"url"`
		Proxy *struct {
			User    string         `yaml:"user"`
			Groups  string         `yaml:"groups"`
			Trusted []netip.Prefix `yaml:"trusted"`
		} `yaml:"proxy"`
		OIDC *struct {
			Issuer          string   `yaml:"issuer"`
			ClientID        string   `yaml:"clientID"`
			ClientSecretEnv string   `yaml:"clientSecretEnv"`
			PersonClaim     string   `yaml:"personClaim"`
			GroupsClaim     string   `yaml:"groupsClaim"`
			Groups          []string `yaml:"groups"`
		} `yaml:"oidc"`
	} `yaml:"web"`
	Email struct {
		// URL is where the links in mails lead.
		URL         string `yaml:"url"`
		From        string `yaml:"from"`
		SMTP        string `yaml:"smtp"`
		User        string `yaml:"user"`
		PasswordEnv string `yaml:"passwordEnv"`
		People      map[string]struct {
			Address string   `yaml:"address"`
			Groups  []string `yaml:"groups"`
		} `yaml:"people"`
	} `yaml:"email"`
	Slack struct {
		TokenEnv         string `yaml:"tokenEnv"`
		SigningSecretEnv string `yaml:"signingSecretEnv"`
		// Channel and Escalation are ids of channels; clicks come in at Path. It defaults to /slack.
		Channel    string `yaml:"channel"`
		Escalation string `yaml:"escalation"`
		Path       string `yaml:"path"`
		// People are users by id or e-mail address.
		People map[string]struct {
			Name   string   `yaml:"name"`
			Groups []string `yaml:"groups"`
		} `yaml:"people"`
		Mentions map[string]string `yaml:"mentions"`
	} `yaml:"slack"`
	Cluster struct {
		// Namespace is where the ApprovalRequests are. Defaults to that of the kubeconfig.
		Namespace string `yaml:"namespace"`
	} `yaml:"cluster"`
}

// The words of --approve that name channels; the others answer at once.
var channelNames = []string{"web", "slack", "email", "cluster"}

// A desk is where requests are put before people who are not at this terminal.
type desk struct {
	approver  approval.Approver
	observers []executor.Observer
	executor  *executor.Executor // set before anything is served
	attach    func(ex *executor.Executor)
	follow    func(ctx context.Context) // takes decisions until ctx ends; nil: nothing is to be followed
	unfollow  func()
	wait      func() // for what goes on after the server has ended; nil: nothing does
	mux       *http.ServeMux
	paths     []string         // that are served
	aside     func(say func()) // keeps the progress out of the way of what is said
	server    *http.Server
	listener  net.Listener
}

// desk makes the channels of --approve.
func (a *app) desk(ctx context.Context, f *conductFlags) (*desk, error) {
	s, err := a.readSite(ctx, f.site)
	if err != nil {
		return nil, err
	}
	d := &desk{mux: http.NewServeMux(), attach: func(*executor.Executor) {}, aside: func(say func()) { say() }}
	if d.listener, err = net.Listen("tcp", f.listen); err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	var channels []approval.Channel
	for name := range strings.SplitSeq(f.approve, ",") {
		c := approval.Channel{Name: name}
		switch name {
		case "web":
			c.Approver, err = a.web(d, &s.Approvals, f)
		case "email":
			c.Approver, err = d.email(&s.Approvals)
		case "slack":
			c.Approver, err = d.slack(&s.Approvals)
		case "cluster":
			c.Approver, err = a.askCluster(d, &s.Approvals, f)
		}
		if err != nil {
			d.close()
			return nil, err
		}
		channels = append(channels, c)
	}
	d.approver = approval.Broadcast(func(f approval.Failure) {
		again := "given up"
		if f.Retry > 0 {
			again = "tried again in " + short(f.Retry.Round(time.Second))
		}
		d.aside(func() { fmt.Fprintf(a.stderr, "%s: %s; %s\n", f.Channel, printable(f.Err.Error()), again) })
	}, channels...)
	if d.server == nil {
		d.server = &http.Server{ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10}
	}
	d.server.Handler = d.mux
	return d, nil
}

// open begins to serve; decisions go to ex.
func (d *desk) open(ex *executor.Executor) {
	d.executor = ex
	d.attach(ex)
	if d.follow != nil {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			d.follow(ctx)
		}()
		d.unfollow = func() {
			cancel()
			<-ended
		}
	}
	go func() { _ = d.server.Serve(d.listener) }() // until close
}

func (d *desk) close() {
	if d.unfollow != nil {
		d.unfollow()
	}
	if d.server == nil {
		d.listener.Close()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if d.server.Shutdown(ctx) != nil {
		d.server.Close()
	}
	d.listener.Close() // where it never served
	if d.wait != nil {
		d.wait()
	}
}

// Decide is the executor's.
func (d *desk) Decide(ctx context.Context, run, step string, decision approval.Decision) error {
	return d.executor.Decide(ctx, run, step, decision)
}

// serve has a handler answer below the path of a URL.
func (d *desk) serve(at string, h http.Handler) error {
	u, err := url.Parse(at)
	if err != nil {
		return err
	}
	path := strings.TrimSuffix(u.Path, "/") + "/"
	if slices.Contains(d.paths, path) {
		return fmt.Errorf("approvals: two channels are at %s: give their URLs different paths", path)
	}
	d.paths = append(d.paths, path)
	d.mux.Handle(path, h)
	return nil
}

// key is what links and forms are signed with.
func (c *approvals) key() ([]byte, error) {
	if c.KeyEnv == "" {
		return nil, errors.New("approvals.keyEnv is missing in the file of --site: it names a variable with a key, which openssl rand -base64 32 makes")
	}
	text, err := secret(c.KeyEnv)
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("the environment variable %s is no base64: openssl rand -base64 32 makes a key", c.KeyEnv)
	}
	return key, nil
}

// web makes the pages: those of the site file, or, without any, for one person at this machine, who gets a link.
func (a *app) web(d *desk, c *approvals, f *conductFlags) (approval.Approver, error) {
	w := &c.Web
	if w.URL == "" {
		return a.localWeb(d, f)
	}
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	o := web.Options{URL: w.URL, Key: key}
	if w.Proxy != nil {
		o.Proxy = &web.Proxy{UserHeader: w.Proxy.User, GroupsHeader: w.Proxy.Groups, Trusted: w.Proxy.Trusted}
	}
	if w.OIDC != nil {
		o.OIDC = &web.OIDC{Issuer: w.OIDC.Issuer, ClientID: w.OIDC.ClientID, PersonClaim: w.OIDC.PersonClaim, GroupsClaim: w.OIDC.GroupsClaim, Groups: w.OIDC.Groups}
		if w.OIDC.ClientSecretEnv != "" {
			if o.OIDC.ClientSecret, err = secret(w.OIDC.ClientSecretEnv); err != nil {
				return nil, err
			}
		}
	}
	channel, err := web.New(o)
	if err != nil {
		return nil, fmt.Errorf("approvals.web: %w", err)
	}
	fmt.Fprintf(a.stderr, "approvals at %s\n", w.URL)
	return channel, d.pages(channel, w.URL)
}

// pages has the pages served.
func (d *desk) pages(channel *web.Channel, at string) error {
	d.observers = append(d.observers, channel)
	d.attach = channel.Attach
	d.server = channel.Server()
	return d.serve(at, channel)
}

// localWeb has no proxy that knows people: whoever sees the terminal is the person of --by. Its key ends with the process.
func (a *app) localWeb(d *desk, f *conductFlags) (approval.Approver, error) {
	address := d.listener.Addr().(*net.TCPAddr)
	if !address.IP.IsLoopback() {
		return nil, fmt.Errorf("--listen %s: pages that others reach need approvals.web in the file of --site, which says who somebody is", f.listen)
	}
	by, err := f.identity()
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	at := "http://" + address.String()
	links, err := web.NewLinks(at, key)
	if err != nil {
		return nil, err
	}
	channel, err := web.New(web.Options{URL: at, Key: key, Links: links})
	if err != nil {
		return nil, err
	}
	if err := d.pages(channel, at); err != nil {
		return nil, err
	}
	return &linked{channel, func(req *approval.Request) {
		if link, err := links.URL(req, by); err == nil {
			d.aside(func() { fmt.Fprintf(a.stderr, "%s asks %s: %s\n", req.Subject(), printable(by), link) })
		}
	}}, nil
}

// linked shows the link of a request once it is on its page.
type linked struct {
	*web.Channel
	show func(req *approval.Request)
}

func (l *linked) Approve(ctx context.Context, req *approval.Request) (*approval.Decision, error) {
	d, err := l.Channel.Approve(ctx, req)
	if err == nil {
		l.show(req)
	}
	return d, err
}

func (d *desk) email(c *approvals) (approval.Approver, error) {
	m := &c.Email
	if m.URL == "" {
		return nil, errors.New("--approve email needs approvals.email in the file of --site: url, from, smtp and people")
	}
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	o := email.Options{URL: m.URL, Key: key, From: m.From, People: map[string]email.Person{}, Server: email.Server{Address: m.SMTP, User: m.User}}
	for name, p := range m.People {
		o.People[name] = email.Person{Address: p.Address, Groups: p.Groups}
	}
	if m.PasswordEnv != "" {
		if o.Server.Password, err = secret(m.PasswordEnv); err != nil {
			return nil, err
		}
	}
	channel, err := email.New(o)
	if err != nil {
		return nil, fmt.Errorf("approvals.email: %w", err)
	}
	return channel, d.serve(m.URL, channel.Handler(d))
}

func (d *desk) slack(c *approvals) (approval.Approver, error) {
	s := &c.Slack
	if s.Channel == "" {
		return nil, errors.New("--approve slack needs approvals.slack in the file of --site: tokenEnv, signingSecretEnv, channel and people")
	}
	o := slack.Options{Channel: s.Channel, Escalation: s.Escalation, People: map[string]slack.Person{}, Mentions: s.Mentions}
	for id, p := range s.People {
		o.People[id] = slack.Person{Name: p.Name, Groups: p.Groups}
	}
	var err error
	if o.Token, err = secret(s.TokenEnv); err != nil {
		return nil, fmt.Errorf("approvals.slack.tokenEnv: %w", err)
	}
	if o.SigningSecret, err = secret(s.SigningSecretEnv); err != nil {
		return nil, fmt.Errorf("approvals.slack.signingSecretEnv: %w", err)
	}
	channel, err := slack.New(o)
	if err != nil {
		return nil, fmt.Errorf("approvals.slack: %w", err)
	}
	d.wait = channel.Wait
	return channel, d.serve(cmp.Or(s.Path, "/slack"), channel.Handler(d))
}

// askCluster asks with objects in the cluster of the flags.
func (a *app) askCluster(d *desk, c *approvals, f *conductFlags) (approval.Approver, error) {
	config, err := restConfig(f.kubeconfig)
	if err != nil {
		return nil, err
	}
	namespace := c.Cluster.Namespace
	if namespace == "" {
		namespace = restNamespace(f.kubeconfig)
	}
	tell := func(err error) {
		d.aside(func() {
			fmt.Fprintf(a.stderr, "cluster: %s (remedy approvals --manifests prints what it needs)\n", printableLines(err.Error()))
		})
	}
	channel, err := crd.New(config, crd.Options{Namespace: namespace, Report: tell})
	if err != nil {
		return nil, err
	}
	d.follow = func(ctx context.Context) {
		if err := channel.Run(ctx, d); ctx.Err() == nil {
			tell(err)
		}
	}
	fmt.Fprintf(a.stderr, "approvals with kubectl get approvalrequests -n %s\n", namespace)
	return channel, nil
}

// channelsOnly tells whether --approve names channels, each once; ok is false when it names something else as well.
func channelsOnly(approve string) (ok bool) {
	names := strings.Split(approve, ",")
	for i, name := range names {
		if !slices.Contains(channelNames, name) || slices.Contains(names[:i], name) {
			return false
		}
	}
	return true
}
