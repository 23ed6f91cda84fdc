package controlplane_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/internal/controlplane"
	"github.com/remedykit/remedy/internal/controlplane/kubetest"
)

func TestMain(m *testing.M) {
	if os.Getenv("START_AND_HANG") != "" {
		c, err := controlplane.Start(context.Background(), controlplane.Options{})
		fmt.Println(c.Server, err)
		select {}
	}
	os.Exit(kubetest.Main(m))
}

// client speaks to the cluster as a user.
type client struct {
	t      *testing.T
	server string
	token  string
	http   *http.Client
}

func as(t *testing.T, c *controlplane.Cluster, user string) *client {
	t.Helper()
	name, err := c.Kubeconfig(user)
	require.NoError(t, err)
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	var config struct {
		Users []struct{ User struct{ Token string } }
	}
	require.NoError(t, json.Unmarshal(data, &config))
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{t, c.Server, config.Users[0].User.Token, &http.Client{Transport: transport, Timeout: 10 * time.Second}}
}

func (c *client) do(method, path, body string) (int, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.server+path, strings.NewReader(body))
	require.NoError(c.t, err)
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	require.NoError(c.t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	require.NoError(c.t, err)
	return res.StatusCode, string(data)
}

// watch returns when an object's JSON contains words.
func (c *client) watch(path, name string, words ...string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.server+path+"?watch=true&timeoutSeconds=30&fieldSelector=metadata.name="+name, nil)
	require.NoError(c.t, err)
	req.Header.Set("Authorization", "Bearer "+c.token)
	res, err := (&http.Client{Transport: c.http.Transport}).Do(req)
	require.NoError(c.t, err)
	defer res.Body.Close()
	last := ""
	for lines := bufio.NewReader(res.Body); ; {
		line, err := lines.ReadString('\n')
		require.NoError(c.t, err, "%s/%s does not get %v: %s", path, name, words, last)
		last = line
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return
		}
	}
}

const node = `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1","labels":{"kubernetes.io/hostname":"n1"}},
"status":{"allocatable":{"cpu":"32","memory":"256Gi","pods":"110"},"capacity":{"cpu":"32","memory":"256Gi","pods":"110"}}}`

func deployment(name, annotation string) string {
	return fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":%q},"spec":{"replicas":2,"selector":{"matchLabels":{"app":%q}},
"template":{"metadata":{"labels":{"app":%q},"annotations":{%s}},"spec":{"containers":[{"name":"main","image":"nothing"}]}}}}`, name, name, name, annotation)
}

func TestADeploymentRollsOutOnARealControlPlane(t *testing.T) {
	c := as(t, kubetest.Cluster(t), controlplane.Admin)
	code, body := c.do(http.MethodPost, "/api/v1/nodes", node)
	require.Equal(t, http.StatusCreated, code, body)
	const deployments = "/apis/apps/v1/namespaces/default/deployments"
	for name, annotation := range map[string]string{"web": "", "slow": `"remedy.test/pod":"slow"`, "crash": `"remedy.test/pod":"crash"`, "never": `"remedy.test/pod":"never"`} {
		code, body = c.do(http.MethodPost, deployments, deployment(name, annotation))
		require.Equal(t, http.StatusCreated, code, body)
	}
	c.watch(deployments, "web", `"readyReplicas":2`)
	c.watch(deployments, "slow", `"readyReplicas":2`)
	code, body = c.do(http.MethodGet, "/api/v1/namespaces/default/pods?labelSelector=app=never", "")
	require.Equal(t, http.StatusOK, code)
	require.NotContains(t, body, `"phase":"Running"`)
	code, body = c.do(http.MethodGet, "/api/v1/namespaces/default/pods?labelSelector=app=crash", "")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "CrashLoopBackOff")
}

func TestAnAlertmanagerKeepsAlerts(t *testing.T) {
	a, err := controlplane.StartAlertmanager(t.Context())
	if errors.Is(err, controlplane.ErrNotBuilt) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(a.Stop)
	c := &client{t, a.URL, "", http.DefaultClient}
	code, body := c.do(http.MethodPost, "/api/v2/alerts", `[{"labels": {"alertname": "OOMKilled", "service": "web"}}]`)
	require.Equal(t, http.StatusOK, code, body)
	code, body = c.do(http.MethodGet, "/api/v2/alerts", "")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "OOMKilled")
}

func TestAUserHasNoRights(t *testing.T) {
	c := as(t, kubetest.Cluster(t), "eve")
	code, body := c.do(http.MethodGet, "/api/v1/namespaces/default/pods", "")
	require.Equal(t, http.StatusForbidden, code, body)
}

func TestAProcessThatIsKilledTakesItsClusterAlong(t *testing.T) {
	kubetest.Cluster(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(cmd.Environ(), "START_AND_HANG=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	server, _, _ := strings.Cut(line, " ")
	require.Contains(t, line, "<nil>")
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: time.Second}
	require.Eventually(t, func() bool {
		res, err := client.Get(server + "/readyz")
		if err == nil {
			res.Body.Close()
		}
		return err != nil
	}, 10*time.Second, 10*time.Millisecond)
}
