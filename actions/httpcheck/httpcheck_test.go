package httpcheck_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/httpcheck"
	"github.com/remedykit/remedy/internal/controlplane"
	"github.com/remedykit/remedy/internal/controlplane/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// shop answers as a service does: 200 for /health with a query, 503 for /ill, and elsewhere with a redirect.
func shop(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Query().Get("to") != "":
		http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
	case strings.HasSuffix(r.URL.Path, "/slash/"): // and nothing without the slash
	case strings.HasSuffix(r.URL.Path, "/health") && r.URL.RawQuery == "deep=1", strings.HasSuffix(r.URL.Path, "/health"):
		_, _ = w.Write([]byte(strings.Repeat("fine", 100_000)))
	case strings.HasSuffix(r.URL.Path, "/ill"):
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		http.Redirect(w, r, "http://169.254.169.254/secret", http.StatusFound)
	}
}

func TestATemplateLeadsToTheServiceAndNowhereElse(t *testing.T) {
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		shop(w, r)
	}))
	a, err := httpcheck.Template(s.URL+"/{namespace}/{service}", nil)
	require.NoError(t, err)
	for endpoint, want := range map[string]int{"/health": 200, "health?deep=1": 200, "/ill": 503, "/../../../other": 302, "/slash/": 200} {
		status, err := a.Ask(t.Context(), "shop", "web", endpoint)
		require.NoError(t, err)
		require.Equal(t, want, status, endpoint)
	}
	require.ElementsMatch(t, []string{"/shop/web/health", "/shop/web/health?deep=1", "/shop/web/ill", "/shop/web/other", "/shop/web/slash/"}, asked, "a redirect is not followed")
	for _, bad := range []string{"http://169.254.169.254/latest", "//evil/x", "file:///etc/passwd", "x:y", "http://user@h/"} {
		_, err := a.Ask(t.Context(), "shop", "web", bad)
		require.ErrorContains(t, err, "give the path of the service", bad)
	}
	for _, bad := range [][2]string{{"shop", "evil.example.com/"}, {"..", "web"}, {"shop", ""}} {
		_, err := a.Ask(t.Context(), bad[0], bad[1], "/")
		require.ErrorContains(t, err, "cannot be a service")
	}
	s.Close()
	_, err = a.Ask(t.Context(), "shop", "web", "/health")
	require.True(t, actions.IsTransient(err))
	for _, bad := range []string{"", "{service}", "ftp://{service}", "http://fixed", "http://{service}?x=1"} {
		_, err := httpcheck.Template(bad, nil)
		require.Error(t, err, bad)
	}
}

func cluster(t *testing.T) (*controlplane.Cluster, *rest.Config, kubernetes.Interface) {
	t.Helper()
	c := kubetest.Cluster(t)
	name, err := c.Kubeconfig(controlplane.Admin)
	require.NoError(t, err)
	config, err := clientcmd.BuildConfigFromFlags("", name)
	require.NoError(t, err)
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return c, config, client
}

func TestTheAPIServerAsksAService(t *testing.T) {
	c, config, client := cluster(t)
	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	var own net.IP // an endpoint cannot be on loopback
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			own = n.IP
		}
	}
	if own == nil {
		t.Skip("this machine has no address but loopback")
	}
	l, err := net.Listen("tcp", net.JoinHostPort(own.String(), "0"))
	require.NoError(t, err)
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(shop)}}
	s.Start()
	defer s.Close()
	_, text, _ := net.SplitHostPort(l.Addr().String())
	_, err = client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.ServiceSpec{
		Ports: []corev1.ServicePort{{Name: "metrics", Port: 9090}, {Name: "http", Port: 80}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	a, err := httpcheck.ServiceProxy(config)
	require.NoError(t, err)
	_, err = a.Ask(t.Context(), "default", "web", "/health")
	require.ErrorContains(t, err, "cannot be reached")
	require.True(t, actions.IsTransient(err), "it has no endpoints yet")
	// The proxy leads to pods only: this one is here.
	_, err = client.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "here"}, Spec: corev1.PodSpec{SchedulerName: "nobody",
		Containers: []corev1.Container{{Name: "main", Image: "nothing"}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.CoreV1().Pods("default").Patch(t.Context(), "here", types.MergePatchType, fmt.Appendf(nil, `{"status":{"podIP":%q,"podIPs":[{"ip":%[1]q}]}}`, own), metav1.PatchOptions{}, "status")
	require.NoError(t, err)
	endpoints := fmt.Sprintf(`{"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"web"},"subsets":[{"addresses":[{"ip":%q,"targetRef":{"kind":"Pod","namespace":"default","name":"here"}}],"ports":[{"name":"http","port":%s}]}]}`, own, text)
	require.NoError(t, client.CoreV1().RESTClient().Post().Namespace("default").Resource("endpoints").SetHeader("Content-Type", "application/json").Body([]byte(endpoints)).Do(t.Context()).Error())
	var status int
	require.Eventually(t, func() bool {
		status, err = a.Ask(t.Context(), "default", "web", "/health?deep=1")
		return err == nil && status == 200
	}, 10*time.Second, 20*time.Millisecond, "the proxy answers")
	status, err = a.Ask(t.Context(), "default", "web", "ill")
	require.NoError(t, err)
	require.Equal(t, 503, status)
	var token string
	inside := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		token = "it was asked with " + r.Header.Get("Authorization")
	}))
	defer inside.Close()
	status, err = a.Ask(t.Context(), "default", "web", "/away?to="+url.QueryEscape(inside.URL))
	require.NoError(t, err)
	require.Equal(t, 302, status)
	require.Empty(t, token, "a service leads the runner nowhere, and gets no token of the cluster's")
	_, err = a.Ask(t.Context(), "default", "none", "/health")
	require.ErrorContains(t, err, "service default/none does not exist")
	require.False(t, actions.IsTransient(err))
	file, err := c.Kubeconfig("eve")
	require.NoError(t, err)
	eve, err := clientcmd.BuildConfigFromFlags("", file)
	require.NoError(t, err)
	powerless, err := httpcheck.ServiceProxy(eve)
	require.NoError(t, err)
	_, err = powerless.Ask(t.Context(), "default", "web", "/health")
	require.ErrorContains(t, err, "the runner may not get services in namespace default")
}

func TestAPortOfAPodIsForwarded(t *testing.T) {
	c, config, client := cluster(t)
	l, err := net.Listen("tcp", c.Forward)
	require.NoError(t, err)
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(shop)}}
	s.Start()
	defer s.Close()
	room := corev1.ResourceList{"cpu": apiresource.MustParse("8"), "memory": apiresource.MustParse("8Gi"), "pods": apiresource.MustParse("50")}
	_, err = client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "forward"}, Status: corev1.NodeStatus{Allocatable: room, Capacity: room}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Labels: map[string]string{"app": "forwarded"}}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "main", Image: "nothing", Ports: []corev1.ContainerPort{{Name: "serve", ContainerPort: 8080}}}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "forwarded"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "forwarded"},
		Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromString("serve")}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	a, err := httpcheck.PortForward(config)
	require.NoError(t, err)
	var status int
	require.Eventually(t, func() bool { status, err = a.Ask(t.Context(), "default", "forwarded", "/health"); return err == nil }, 10*time.Second, 50*time.Millisecond, "%v", err)
	require.Equal(t, 200, status)
	status, err = a.Ask(t.Context(), "default", "forwarded", "/ill")
	require.NoError(t, err)
	require.Equal(t, 503, status)
}

func TestAForwardedPortMaySpeakTLS(t *testing.T) {
	c, config, client := cluster(t)
	l, err := net.Listen("tcp", c.Forward)
	require.NoError(t, err)
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(shop)}}
	s.StartTLS()
	defer s.Close()
	room := corev1.ResourceList{"cpu": apiresource.MustParse("8"), "memory": apiresource.MustParse("8Gi"), "pods": apiresource.MustParse("50")}
	_, err = client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "forward-tls"}, Status: corev1.NodeStatus{Allocatable: room, Capacity: room}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "tls-0", Labels: map[string]string{"app": "secure"}}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "main", Image: "nothing"}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "secure"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "secure"},
		Ports: []corev1.ServicePort{{Name: "https", Port: 443}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	a, err := httpcheck.PortForward(config)
	require.NoError(t, err)
	var status int
	require.Eventually(t, func() bool { status, err = a.Ask(t.Context(), "default", "secure", "/health"); return err == nil }, 10*time.Second, 50*time.Millisecond, "its certificate is for its own name: %v", err)
	require.Equal(t, 200, status)
}

// apiServer answers as an API server that has the service web and its ready pod, but for one path, which it answers by itself.
func apiServer(t *testing.T, path string, answer http.HandlerFunc) *httptest.Server {
	t.Helper()
	objects := map[string]any{
		"/api/v1/namespaces/shop/services/web": corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop"},
			Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}}},
		"/api/v1/namespaces/shop/pods": corev1.PodList{Items: []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "web-0"},
			Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}}},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path {
			answer(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(objects[r.URL.Path])
	}))
	t.Cleanup(s.Close)
	return s
}

func TestWhatTheAPIServerRefusesIsNotAskedAgain(t *testing.T) {
	const services, proxy, pods, portforward = "/api/v1/namespaces/shop/services/web", "/api/v1/namespaces/shop/services/web:80/proxy/health", "/api/v1/namespaces/shop/pods", "/api/v1/namespaces/shop/pods/web-0/portforward"
	for _, c := range []struct {
		path  string
		asker func(*rest.Config) (httpcheck.Asker, error)
		right string
	}{
		{services, httpcheck.ServiceProxy, "get services"}, {proxy, httpcheck.ServiceProxy, "get services/proxy"},
		{services, httpcheck.PortForward, "get services"}, {pods, httpcheck.PortForward, "list pods"}, {portforward, httpcheck.PortForward, "create pods/portforward"},
	} {
		for status, want := range map[metav1.StatusReason]struct {
			code      int32
			transient bool
			says      string
		}{
			metav1.StatusReasonUnauthorized:  {401, false, "the API server does not know the runner: check its credentials"},
			metav1.StatusReasonForbidden:     {403, false, "the runner may not " + c.right + " in namespace shop: give its account that right"},
			metav1.StatusReasonInvalid:       {422, false, c.right + " in namespace shop"},
			metav1.StatusReasonInternalError: {500, true, c.right + " in namespace shop"},
			metav1.StatusReasonTimeout:       {504, true, c.right + " in namespace shop"},
		} {
			s := apiServer(t, c.path, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(int(want.code))
				_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: status, Code: want.code})
			})
			a, err := c.asker(&rest.Config{Host: s.URL})
			require.NoError(t, err)
			_, err = a.Ask(t.Context(), "shop", "web", "/health")
			require.ErrorContains(t, err, want.says, "%s %s", c.path, status)
			require.Equal(t, want.transient, actions.IsTransient(err), "%s %s", c.path, status)
		}
	}
}

func TestAnAPIServerThatIsNotTrustedIsNotAskedAgain(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	for _, asker := range []func(*rest.Config) (httpcheck.Asker, error){httpcheck.ServiceProxy, httpcheck.PortForward} {
		a, err := asker(&rest.Config{Host: s.URL})
		require.NoError(t, err)
		_, err = a.Ask(t.Context(), "shop", "web", "/health")
		require.ErrorContains(t, err, "the API server's certificate is not trusted: give the runner's kubeconfig the authority that issued it")
		require.False(t, actions.IsTransient(err))
	}
}

func TestAnAPIServerThatNeverAnswersHoldsNobodyUp(t *testing.T) {
	released := make(chan struct{})
	s := apiServer(t, "/api/v1/namespaces/shop/pods/web-0/portforward", func(http.ResponseWriter, *http.Request) { <-released })
	defer close(released)
	a, err := httpcheck.PortForward(&rest.Config{Host: s.URL})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		_, err := a.Ask(ctx, "shop", "web", "/health")
		answered <- err
	}()
	select {
	case err := <-answered:
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.True(t, actions.IsTransient(err))
	case <-time.After(10 * time.Second):
		require.Fail(t, "it waits for ever")
	}
}

func TestStepsMayForwardAtTheSameTime(t *testing.T) {
	var both sync.WaitGroup
	both.Add(2)
	s := apiServer(t, "/api/v1/namespaces/shop/pods/web-0/portforward", func(w http.ResponseWriter, _ *http.Request) {
		both.Done()
		both.Wait()
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	a, err := httpcheck.PortForward(&rest.Config{Host: s.URL})
	require.NoError(t, err)
	var all errgroup.Group
	for range 2 {
		all.Go(func() error {
			_, err := a.Ask(t.Context(), "shop", "web", "/health")
			if !actions.IsTransient(err) {
				return fmt.Errorf("what a load balancer says is final: %w", err)
			}
			return nil
		})
	}
	require.NoError(t, all.Wait())
}

// A script answers one after the other.
type script struct{ answers []int }

func (s *script) Ask(context.Context, string, string, string) (int, error) {
	status := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	if status == 0 {
		return 0, actions.Transient(&url.Error{Op: "Get", URL: "x", Err: errors.New("refused")})
	}
	return status, nil
}

func request(parameters map[string]any, namespaces ...string) *actions.Request {
	return &actions.Request{Task: &actions.Task{Step: "s", Parameters: actions.NewParameters(parameters), Namespaces: namespaces}, Run: "r"}
}

func TestADiagnosisReportsAndAGateFails(t *testing.T) {
	h := httpcheck.Handlers(&script{[]int{503}})["health_check"]
	r, err := h.Execute(t.Context(), request(map[string]any{"service": "web", "namespace": "shop"}))
	require.NoError(t, err)
	require.Equal(t, false, r.Outputs["healthy"])
	_, err = h.Execute(t.Context(), request(map[string]any{"services": []string{"web"}, "endpoint": "/health", "expectedStatus": 200}, "shop"))
	require.EqualError(t, err, "not healthy: service shop/web answers with status 503")
	require.True(t, actions.IsTransient(err), "it may become healthy")
	well, err := httpcheck.Handlers(&script{[]int{204}})["health_check"].Execute(t.Context(), request(map[string]any{"service": "web", "endpoint": "/h", "expectedStatus": 204}, "shop"))
	require.NoError(t, err)
	require.Equal(t, true, well.Outputs["healthy"])
	for want, req := range map[string]*actions.Request{"only services can be asked": request(map[string]any{"deployment": "web"}), "give the step a namespace": request(map[string]any{"service": "web"}, "a", "b")} {
		_, err = h.Execute(t.Context(), req)
		require.ErrorContains(t, err, want)
	}
}

func TestNobodyKnowsTheHealthOfWhatGivesNoAnswer(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	a, err := httpcheck.Template(closed.URL+"/{service}", nil)
	require.NoError(t, err)
	r, err := httpcheck.Handlers(a)["health_check"].Execute(t.Context(), request(map[string]any{"service": "web", "namespace": "shop"}))
	require.ErrorContains(t, err, "service shop/web could not be asked: ")
	require.True(t, actions.IsTransient(err))
	require.Nil(t, r)

	// An API server that knows of no endpoint knows that the service is not healthy.
	s := apiServer(t, "/api/v1/namespaces/shop/services/web:80/proxy", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no endpoints available for service \"web\"","reason":"ServiceUnavailable","code":503}`)
	})
	a, err = httpcheck.ServiceProxy(&rest.Config{Host: s.URL})
	require.NoError(t, err)
	r, err = httpcheck.Handlers(a)["health_check"].Execute(t.Context(), request(map[string]any{"service": "web", "namespace": "shop"}))
	require.NoError(t, err)
	require.Equal(t, false, r.Outputs["healthy"])
	require.Contains(t, r.Message, "no endpoints available")
}

func TestRecoveryIsHealthWithoutABreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parameters := map[string]any{"services": []string{"web"}, "namespace": "shop", "stableFor": 10 * time.Second}
		began := time.Now()
		h := httpcheck.Handlers(&script{[]int{200, 200, 200, 500, 0, 200}})["verify_recovery"]
		_, err := h.Execute(t.Context(), request(parameters))
		require.NoError(t, err)
		require.Equal(t, 15*time.Second, time.Since(began), "the window begins anew when it is seen healthy again")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err = httpcheck.Handlers(&script{[]int{500}})["verify_recovery"].Execute(ctx, request(parameters))
		require.ErrorContains(t, err, "were not healthy for 10s without a break; last: service shop/web answers with status 500")
	})
}
