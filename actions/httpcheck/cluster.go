package httpcheck

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/directclient"
	"github.com/remedykit/remedy/internal/kubefault"
)

// ServiceProxy returns an Asker that asks through the API server's proxy: it needs the right to get services and
// services/proxy. It asks the port named http, web or https, else the first one.
func ServiceProxy(config *rest.Config) (Asker, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("httpcheck: %w", err)
	}
	// A redirect is the service's: it must not lead away, with the runner's credentials for the cluster.
	direct := directclient.Of(client, 0)
	typed, err := kubernetes.NewForConfigAndClient(config, direct)
	if err != nil {
		return nil, fmt.Errorf("httpcheck: %w", err)
	}
	return proxy{typed, direct}, nil
}

type proxy struct {
	client kubernetes.Interface
	direct *http.Client
}

// Rights is what RBAC must allow beside reading services.
func (proxy) Rights() (verb, resource string) { return "get", "services/proxy" }

// Rights is what RBAC must allow beside reading services and pods.
func (forward) Rights() (verb, resource string) { return "create", "pods/portforward" }

func (p proxy) Ask(ctx context.Context, namespace, service, endpoint string) (int, error) {
	e, err := checked(namespace, service, endpoint)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, port, err := find(ctx, p.client, namespace, service)
	if err != nil {
		return 0, err
	}
	name := s.Name + ":" + strconv.Itoa(int(port.Port))
	if port.Name == "https" || port.Port == 443 {
		name = "https:" + name
	}
	u := p.client.CoreV1().RESTClient().Get().Namespace(namespace).Resource("services").Name(name).SubResource("proxy").Suffix(e.Path).URL()
	u.RawQuery = e.RawQuery
	status, body, err := fetch(ctx, p.direct, u.String())
	if err != nil {
		return 0, err
	}
	switch err := own(body); {
	case err == nil:
		return status, nil
	case apierrors.IsServiceUnavailable(err), apierrors.IsNotFound(err): // it is there, but there is no endpoint, or none that answers
		return 0, down("service %s/%s cannot be reached: %w", namespace, service, err)
	default:
		return 0, explain(err, "get services/proxy", namespace)
	}
}

// explain classes an error of the API server and says what to do; may is the right that was used.
func explain(err error, may, namespace string) error {
	e, answered := errors.AsType[*apierrors.StatusError](err)
	answered = answered && e.ErrStatus.Code != 0 // an empty answer, such as a load balancer's, says nothing
	switch {
	case apierrors.IsForbidden(err):
		return actions.Permanent(fmt.Errorf("the runner may not %s in namespace %s: give its account that right: %w", may, namespace, err))
	case apierrors.IsUnauthorized(err):
		return actions.Permanent(fmt.Errorf("the API server does not know the runner: check its credentials: %w", err))
	case directclient.Untrusted(err):
		return actions.Permanent(fmt.Errorf("the API server's certificate is not trusted: give the runner's kubeconfig the authority that issued it: %w", err))
	case answered && !kubefault.Passes(err):
		return actions.Permanent(fmt.Errorf("%s in namespace %s: %w", may, namespace, err))
	case answered:
		wait, _ := apierrors.SuggestsClientDelay(err)
		return &actions.HandlerError{Transient: true, RetryAfter: time.Duration(wait) * time.Second, Err: fmt.Errorf("%s in namespace %s: %w", may, namespace, err)}
	}
	return directclient.Failed(may+" in namespace "+namespace, err)
}

// own is the API server's own error in an answer, such as that there are no endpoints; nil for an answer of the service.
func own(body []byte) error {
	var s metav1.Status
	if json.Unmarshal(body, &s) != nil || s.Kind != "Status" || s.APIVersion != "v1" || s.Status != metav1.StatusFailure {
		return nil
	}
	return apierrors.FromObject(&s)
}

// find is a service and the port of it that speaks HTTP.
func find(ctx context.Context, client kubernetes.Interface, namespace, service string) (*corev1.Service, corev1.ServicePort, error) {
	s, err := client.CoreV1().Services(namespace).Get(ctx, service, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, corev1.ServicePort{}, actions.Permanent(fmt.Errorf("service %s/%s does not exist: %w", namespace, service, err))
	case err != nil:
		return nil, corev1.ServicePort{}, explain(err, "get services", namespace)
	case len(s.Spec.Ports) == 0:
		return nil, corev1.ServicePort{}, actions.Permanent(fmt.Errorf("service %s/%s has no port", namespace, service))
	}
	port := slices.MinFunc(s.Spec.Ports, func(a, b corev1.ServicePort) int { return cmp.Compare(rank(a.Name), rank(b.Name)) })
	return s, port, nil
}

func rank(name string) int {
	if i := slices.Index([]string{"http", "web", "https"}, name); i >= 0 {
		return i
	}
	return 3
}

// PortForward returns an Asker that forwards a port of a ready pod of the service for each question, as kubectl port-forward
// does: it needs the right to get services, to list pods and to create pods/portforward.
func PortForward(config *rest.Config) (Asker, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("httpcheck: %w", err)
	}
	return forward{client, config}, nil
}

type forward struct {
	client kubernetes.Interface
	config *rest.Config
}

// A dialer dials once, and remembers why it could not: who forwards makes a text of that.
type dialer struct {
	transport http.RoundTripper
	upgrader  spdy.Upgrader
	req       *http.Request
	err       error // read it when who forwards has ended
}

func (d *dialer) Dial(protocols ...string) (conn httpstream.Connection, protocol string, err error) {
	defer func() { d.err = err }()
	d.req.Header[httpstream.HeaderProtocolVersion] = protocols
	resp, err := d.transport.RoundTrip(d.req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	conn, err = d.upgrader.NewConnection(resp)
	return conn, resp.Header.Get(httpstream.HeaderProtocolVersion), err
}

func (f forward) Ask(ctx context.Context, namespace, service, endpoint string) (status int, err error) {
	e, err := checked(namespace, service, endpoint)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, port, err := find(ctx, f.client, namespace, service)
	if err != nil {
		return 0, err
	}
	pod, number, err := f.pod(ctx, s, port)
	if err != nil {
		return 0, err
	}
	transport, upgrader, err := spdy.RoundTripperFor(f.config) // it holds the connection, and so is for one question
	if err != nil {
		return 0, actions.Permanent(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.client.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").Name(pod).SubResource("portforward").URL().String(), nil)
	if err != nil {
		return 0, actions.Permanent(err)
	}
	d := &dialer{transport: transport, upgrader: upgrader, req: req}
	ready := make(chan struct{})
	forwarder, err := portforward.NewOnAddresses(d, []string{"127.0.0.1"}, []string{"0:" + strconv.Itoa(number)}, ctx.Done(), ready, io.Discard, io.Discard)
	if err != nil {
		return 0, actions.Permanent(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case err := <-ended:
		if d.err != nil && ctx.Err() == nil && !apierrors.IsNotFound(d.err) { // the pod may have been replaced
			return 0, explain(d.err, "create pods/portforward", namespace)
		}
		return 0, actions.Transient(fmt.Errorf("pod %s/%s cannot be reached: %w", namespace, pod, errors.Join(err, ctx.Err())))
	case <-ctx.Done(): // who forwards ends when the API server answers or hangs up
		return 0, actions.Transient(fmt.Errorf("pod %s/%s cannot be reached: %w", namespace, pod, ctx.Err()))
	case <-ready:
	}
	defer func() { // the port is closed when Ask returns
		cancel()
		<-ended
	}()
	ports, err := forwarder.GetPorts()
	if err != nil {
		return 0, actions.Transient(err)
	}
	u := url.URL{Scheme: "http", Host: "127.0.0.1:" + strconv.Itoa(int(ports[0].Local)), Path: e.Path, RawQuery: e.RawQuery}
	if port.Name == "https" || port.Port == 443 {
		u.Scheme = "https"
	}
	// As for the API server's proxy and the kubelet's probes, the way to the pod is what is trusted: its certificate is for another
	// name, if for any.
	trusting := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	return get(ctx, directclient.Of(&http.Client{Transport: trusting}, 0), u.String())
}

// pod is a ready pod of a service, and the number of the port there.
func (f forward) pod(ctx context.Context, s *corev1.Service, port corev1.ServicePort) (string, int, error) {
	where := s.Namespace + "/" + s.Name
	if len(s.Spec.Selector) == 0 {
		return "", 0, actions.Permanent(fmt.Errorf("service %s selects no pods: ask it through the service proxy", where))
	}
	pods, err := f.client.CoreV1().Pods(s.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(s.Spec.Selector).String()})
	if err != nil {
		return "", 0, explain(err, "list pods", s.Namespace)
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.DeletionTimestamp != nil || !slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		}) {
			continue
		}
		number := port.TargetPort.IntValue()
		for _, c := range p.Spec.Containers {
			for _, one := range c.Ports {
				if number == 0 && one.Name == port.TargetPort.StrVal {
					number = int(one.ContainerPort)
				}
			}
		}
		if number == 0 {
			number = int(port.Port)
		}
		return p.Name, number, nil
	}
	return "", 0, down("service %s has no ready pod", where)
}
