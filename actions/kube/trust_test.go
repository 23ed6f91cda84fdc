package kube_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/kube"
)

func TestAnAPIServerThatIsNotTrustedIsSaidAtOnce(t *testing.T) {
	c := newCluster(t)
	c.deployment("web", 1, "")
	config := configOf(t, "runner")
	other := httptest.NewTLSServer(http.NotFoundHandler())
	defer other.Close()
	config.CAFile, config.CAData = "", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw})
	k, err := kube.New(config, kube.Options{})
	require.NoError(t, err)
	t.Cleanup(k.Close)
	c.handlers = k.Handlers()
	for action, parameters := range map[string]map[string]any{
		"scale_deployment": {"deployment": "web", "replicas": 2},
		"restart_pod":      {"deployment": "web"},
		"health_check":     {"deployment": "web"},
	} {
		parameters["namespace"] = c.namespace
		req, con := c.request(action, parameters)
		_, err := c.execute(req)
		require.ErrorContains(t, err, "the API server's certificate is not trusted: give the runner's kubeconfig the authority that issued it", action)
		require.False(t, actions.IsTransient(err), action)
		require.Zero(t, con.begun, action)
	}
	require.EqualValues(t, 1, c.size("web"))
}
