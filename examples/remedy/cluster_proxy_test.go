package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// throughProxy is a kubeconfig that leads to the cluster of another through a handler.
func throughProxy(t testing.TB, kubeconfig string, between func(http.Handler) http.Handler) string {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	require.NoError(t, err)
	to, err := url.Parse(config.Host)
	require.NoError(t, err)
	transport, err := rest.TransportFor(config)
	require.NoError(t, err)
	s := httptest.NewServer(between(&httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}))
	t.Cleanup(func() {
		s.CloseClientConnections() // watches stay open
		s.Close()
	})
	return kubeconfigTo(t, s.URL)
}

// kubeconfigTo is a kubeconfig that leads to an address.
func kubeconfigTo(t testing.TB, address string) string {
	t.Helper()
	type named map[string]any
	data, err := json.Marshal(named{"apiVersion": "v1", "kind": "Config", "current-context": "c",
		"clusters": []named{{"name": "c", "cluster": named{"server": address}}}, "users": []named{{"name": "u", "user": named{}}},
		"contexts": []named{{"name": "c", "context": named{"cluster": "c", "user": "u"}}}})
	require.NoError(t, err)
	return file(t, "kubeconfig.json", string(data))
}
