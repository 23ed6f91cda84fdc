package controlplane

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A group is programs that run together, and their data.
type group struct {
	programs  string // the folder that they are in
	dir       string
	log       io.Writer
	ca        []byte // of servers that are waited for
	processes []*process
}

func (g *group) run(name string, args ...string) error {
	p, err := begin(filepath.Join(g.programs, name), g.dir, g.log, args...)
	if err == nil {
		g.processes = append(g.processes, p)
	}
	return err
}

// Stop ends everything and removes the data. It may be called twice.
func (g *group) Stop() {
	for i := range g.processes {
		g.processes[len(g.processes)-1-i].end()
	}
	g.processes = nil
	os.RemoveAll(g.dir)
}

// await waits until an address answers 200, or a program has died.
func (g *group) await(ctx context.Context, url, token string) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(g.ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		err := ask(ctx, client, url, token)
		if err == nil {
			tick.Stop()
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not get ready: %w: %w", url, ctx.Err(), err)
		case <-tick.C:
		}
		for _, p := range g.processes {
			if err := p.died(); err != nil {
				return err
			}
		}
	}
}

func ask(ctx context.Context, client *http.Client, url, token string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

// freePorts finds ports that nobody listens on now.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // after all are found, so that none is found twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// dataFolder makes a folder named after this process, and removes those of processes that are no more.
func dataFolder() (string, error) {
	const prefix = "remedy-testcluster-"
	old, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	for _, dir := range old {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), prefix), "-")
		if n, err := strconv.Atoi(pid); err == nil && !alive(n) {
			os.RemoveAll(dir)
		}
	}
	return os.MkdirTemp("", prefix+strconv.Itoa(os.Getpid())+"-")
}

// tail keeps the end of what a program printed.
type tail struct{ buf bytes.Buffer }

const tailBytes = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.buf.Write(p)
	if over := t.buf.Len() - tailBytes; over > 0 {
		t.buf.Next(over)
	}
	return len(p), nil
}
