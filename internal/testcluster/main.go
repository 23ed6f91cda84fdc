// Command testcluster builds the programs of a real Kubernetes control plane from their Go modules, and starts it for
// people:
//
//	go run -C internal/testcluster . build   # once, about six minutes on two cores
//	go run -C internal/testcluster . up      # prints the path of a kubeconfig, and stays until it is interrupted
//	KUBECONFIG=… go run -C internal/testcluster . seed oomkill   # makes what a plan of examples/plans is about
package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/remedykit/remedy/internal/controlplane"
	"github.com/remedykit/remedy/internal/controlplane/seed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "testcluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch strings.Join(args, " ") {
	case "build":
		return build(ctx)
	case "up":
		if err := build(ctx); err != nil {
			return err
		}
		return up(ctx)
	}
	if len(args) == 2 && args[0] == "seed" {
		return plant(ctx, args[1])
	}
	return fmt.Errorf("usage: go run -C internal/testcluster . build|up|seed PLAN, with PLAN one of %s", strings.Join(seed.Plans(), ", "))
}

// plant makes what a plan is about in the cluster of KUBECONFIG, which has to be one of this machine: a test's objects belong
// nowhere else.
func plant(ctx context.Context, plan string) error {
	file := os.Getenv("KUBECONFIG")
	if file == "" {
		return errors.New("set KUBECONFIG to the path that up has printed")
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return fmt.Errorf("KUBECONFIG: %w", err)
	}
	if u, err := url.Parse(config.Host); err != nil || u.Hostname() != "127.0.0.1" {
		return fmt.Errorf("%s leads to %s: seed makes objects only in a cluster that up has started on this machine", file, config.Host)
	}
	if err := seed.Apply(ctx, config, plan); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "the cluster has what examples/plans/%s.json is about; from the top of the repository:\n"+
		"  go run ./examples/remedy plan examples/plans/%[1]s.json --kubeconfig %s\n", plan, file)
	return nil
}

// up starts a cluster and stays until ctx ends.
func up(ctx context.Context) error {
	c, err := controlplane.Start(ctx, controlplane.Options{})
	if err != nil {
		return err
	}
	defer c.Stop()
	config, err := c.Kubeconfig(controlplane.Admin)
	if err != nil {
		return err
	}
	fmt.Println(config)
	fmt.Fprintf(os.Stderr, "the cluster runs until this is interrupted (ctrl-C); in another terminal:\n"+
		"  export KUBECONFIG=%s\n  go run -C internal/testcluster . seed oomkill\n", config)
	<-ctx.Done()
	return nil
}
