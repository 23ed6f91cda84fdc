package controlplane

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
)

// An Alertmanager is a real one that runs.
type Alertmanager struct {
	// URL is its address, without a slash at the end.
	URL string

	group
}

// StartAlertmanager starts an Alertmanager that tells nobody, and returns when it is ready. Stop it.
func StartAlertmanager(ctx context.Context) (a *Alertmanager, err error) {
	programs, err := Built()
	if err != nil {
		return nil, err
	}
	a = &Alertmanager{group: group{programs: programs}}
	if a.dir, err = dataFolder(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			a.Stop()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(a.dir, "alertmanager.json")
	if err := os.WriteFile(config, []byte(`{"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}`), 0o600); err != nil {
		return nil, err
	}
	address := "127.0.0.1:" + strconv.Itoa(ports[0])
	if err := a.run("alertmanager", "--config.file", config, "--storage.path", filepath.Join(a.dir, "data"),
		"--web.listen-address", address, "--cluster.listen-address", "", "--log.level", "error"); err != nil {
		return nil, err
	}
	a.URL = "http://" + address
	return a, a.await(ctx, a.URL+"/-/ready", "")
}
