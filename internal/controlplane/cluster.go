package controlplane

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Admin is the user who may do everything.
const Admin = "admin"

// Options of a cluster. The zero Options is fine.
type Options struct {
	// Users may authenticate and have no rights but those that a test binds to them.
	Users []string
	// Log gets what the programs print. Defaults to nothing; the end of it is in the error of a program that died.
	Log io.Writer
}

// A Cluster is a control plane that runs.
type Cluster struct {
	// Server is the address of the API server.
	Server string
	// Forward is where forwarded ports of all pods lead, for a test that listens there.
	Forward string
	// Log is the file that all containers have for their log.
	Log string

	group
	tokens map[string]string
}

// startTimeout bounds Start; it takes about five seconds.
const startTimeout = 2 * time.Minute

// Start starts a control plane and returns when its API server is ready and it has the default service account. Stop it.
func Start(ctx context.Context, o Options) (c *Cluster, err error) {
	programs, err := Built()
	if err != nil {
		return nil, err
	}
	c = &Cluster{group: group{programs: programs, log: o.Log}, tokens: map[string]string{}}
	if c.dir, err = dataFolder(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()

	ports, err := freePorts(7)
	if err != nil {
		return nil, err
	}
	address := func(k int) string { return "127.0.0.1:" + strconv.Itoa(ports[k]) }
	cert, key, err := writeCertificate(c.dir)
	if err != nil {
		return nil, err
	}
	if c.ca, err = os.ReadFile(cert); err != nil {
		return nil, err
	}
	accounts, err := writeServiceAccountKey(c.dir)
	if err != nil {
		return nil, err
	}
	tokens, err := c.writeTokens(o.Users)
	if err != nil {
		return nil, err
	}
	etcd, peers := "http://"+address(0), "http://"+address(1)
	c.Server = "https://" + address(2)
	config, err := c.Kubeconfig(Admin)
	if err != nil {
		return nil, err
	}

	if err := c.run("etcd", "--data-dir", filepath.Join(c.dir, "etcd"), "--unsafe-no-fsync", "--listen-client-urls", etcd, "--advertise-client-urls", etcd,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "default="+peers, "--log-level", "error"); err != nil {
		return nil, err
	}
	if err := c.await(ctx, etcd+"/health", ""); err != nil {
		return nil, err
	}
	if err := c.run("kube-apiserver", "--etcd-servers", etcd, "--secure-port", strconv.Itoa(ports[2]), "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1",
		"--tls-cert-file", cert, "--tls-private-key-file", key, "--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-key-file", accounts, "--service-account-signing-key-file", accounts, "--token-auth-file", tokens,
		"--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.0.0.0/16", "--allow-privileged",
		"--kubelet-preferred-address-types", "InternalIP"); err != nil {
		return nil, err
	}
	if err := c.await(ctx, c.Server+"/readyz", c.tokens[Admin]); err != nil {
		return nil, err
	}
	// Kubelets that a test plays do not die: a busy machine that is late with their leases must not have all pods marked unready.
	if err := c.run("kube-controller-manager", "--kubeconfig", config, "--node-monitor-grace-period", "24h", "--service-account-private-key-file", accounts, "--root-ca-file", cert,
		"--use-service-account-credentials", "--kube-api-qps", "500", "--kube-api-burst", "1000", "--leader-elect=false", "--bind-address", "127.0.0.1", "--secure-port", strconv.Itoa(ports[3]), "--cert-dir", c.dir); err != nil {
		return nil, err
	}
	if err := c.run("kube-scheduler", "--kubeconfig", config, "--kube-api-qps", "500", "--kube-api-burst", "1000", "--leader-elect=false", "--bind-address", "127.0.0.1", "--secure-port", strconv.Itoa(ports[4]), "--cert-dir", c.dir); err != nil {
		return nil, err
	}
	kubelets, err := c.writeKubelets(ports[6])
	if err != nil {
		return nil, err
	}
	if err := c.run("kwok", "--kubeconfig", config, "--manage-all-nodes=true", "--config", filepath.Join(programs, Stages), "--config", kubelets, "--node-ip", "127.0.0.1",
		"--node-port", strconv.Itoa(ports[5]), "--server-address", address(5), "--tls-cert-file", cert, "--tls-private-key-file", key); err != nil {
		return nil, err
	}
	if err := c.await(ctx, c.Server+"/api/v1/namespaces/default/serviceaccounts/default", c.tokens[Admin]); err != nil {
		return nil, err
	}
	return c, nil
}

// writeKubelets says what exec, logs and port-forward do: commands run on this machine, all logs are one file, all ports lead to
// one.
func (c *Cluster) writeKubelets(port int) (string, error) {
	c.Forward, c.Log = "127.0.0.1:"+strconv.Itoa(port), filepath.Join(c.dir, "container.log")
	if err := os.WriteFile(c.Log, []byte(time.Now().UTC().Format(time.RFC3339Nano)+" stdout F it begins\n"), 0o600); err != nil {
		return "", err
	}
	const kind = "apiVersion: kwok.x-k8s.io/v1alpha1\nkind: %s\nmetadata: {name: all}\nspec: %s\n---\n"
	text := fmt.Sprintf(kind, "ClusterExec", "{execs: [{local: {}}]}") +
		fmt.Sprintf(kind, "ClusterLogs", fmt.Sprintf("{logs: [{logsFile: %q}]}", c.Log)) +
		fmt.Sprintf(kind, "ClusterPortForward", fmt.Sprintf("{forwards: [{target: {address: 127.0.0.1, port: %d}}]}", port))
	name := filepath.Join(c.dir, "kubelets.yaml")
	return name, os.WriteFile(name, []byte(text), 0o600)
}

// Kubeconfig writes a kubeconfig for Admin or one of Options.Users, and returns its path.
func (c *Cluster) Kubeconfig(user string) (string, error) {
	token, ok := c.tokens[user]
	if !ok {
		return "", fmt.Errorf("the cluster has no user %q", user)
	}
	type named map[string]any
	data, err := json.MarshalIndent(named{
		"apiVersion": "v1", "kind": "Config", "current-context": "test",
		"clusters": []named{{"name": "test", "cluster": named{"server": c.Server, "certificate-authority-data": c.ca}}},
		"users":    []named{{"name": user, "user": named{"token": token}}},
		"contexts": []named{{"name": "test", "context": named{"cluster": "test", "user": user}}},
	}, "", "  ")
	if err != nil {
		return "", err
	}
	name := filepath.Join(c.dir, "kubeconfig-"+user+".json")
	return name, os.WriteFile(name, data, 0o600)
}

// writeTokens makes a token for every user.
func (c *Cluster) writeTokens(users []string) (string, error) {
	var lines strings.Builder
	for _, user := range append([]string{Admin}, users...) {
		group := "testers"
		if user == Admin {
			group = "system:masters"
		}
		c.tokens[user] = rand.Text()
		fmt.Fprintf(&lines, "%s,%s,%s,%s\n", c.tokens[user], user, user, group)
	}
	name := filepath.Join(c.dir, "tokens.csv")
	return name, os.WriteFile(name, []byte(lines.String()), 0o600)
}
