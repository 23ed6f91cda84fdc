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

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/directclient"
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
	case apierrors.IsForbidden(err):
		return 0, actions.Permanent(fmt.Errorf("the runner may not get services/proxy in namespace %s: give its account that right: %w", namespace, err))
	default:
		return 0, actions.Transient(fmt.Errorf("service %s/%s cannot be reached: %w", namespace, service, err))
	}
	return status, nil
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
	case apierrors.IsForbidden(err):
		return nil, corev1.ServicePort{}, actions.Permanent(fmt.Errorf("the runner may not get services in namespace %s: give its account that right: %w", namespace, err))
	case err != nil:
		return nil, corev1.ServicePort{}, actions.Transient(err)
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
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, fmt.Errorf("httpcheck: %w", err)
	}
	return forward{client, func(u *url.URL) *spdyDialer { return &spdyDialer{transport, upgrader, u} }}, nil
}

type spdyDialer struct {
	transport http.RoundTripper
	upgrader  spdy.Upgrader
	url       *url.URL
}

type forward struct {
	client kubernetes.Interface
	dialer func(*url.URL) *spdyDialer
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
	d := f.dialer(f.client.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").Name(pod).SubResource("portforward").URL())
	ready := make(chan struct{})
	forwarder, err := portforward.NewOnAddresses(spdy.NewDialer(d.upgrader, &http.Client{Transport: d.transport}, http.MethodPost, d.url),
		[]string{"127.0.0.1"}, []string{"0:" + strconv.Itoa(number)}, ctx.Done(), ready, io.Discard, io.Discard)
	if err != nil {
		return 0, actions.Permanent(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	defer func() { // the port is closed when Ask returns
		cancel()
		if ended != nil {
			<-ended
		}
	}()
	select {
	case err := <-ended:
		ended = nil
		return 0, actions.Transient(fmt.Errorf("pod %s/%s cannot be reached: %w", namespace, pod, errors.Join(err, ctx.Err())))
	case <-ready:
	}
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
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	return get(ctx, directclient.Of(&http.Client{Transport: transport}, 0), u.String())
}

// pod is a ready pod of a service, and the number of the port there.
func (f forward) pod(ctx context.Context, s *corev1.Service, port corev1.ServicePort) (string, int, error) {
	where := s.Namespace + "/" + s.Name
	if len(s.Spec.Selector) == 0 {
		return "", 0, actions.Permanent(fmt.Errorf("service %s selects no pods: ask it through the service proxy", where))
	}
	pods, err := f.client.CoreV1().Pods(s.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(s.Spec.Selector).String()})
	if err != nil {
		return "", 0, actions.Transient(err)
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
	return "", 0, actions.Transient(fmt.Errorf("service %s has no ready pod", where))
}
