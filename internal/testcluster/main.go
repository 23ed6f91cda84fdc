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
	if plan, ok := strings.CutPrefix(strings.Join(args, " "), "seed "); ok {
		config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
		if err != nil {
			return err
		}
		return seed.Apply(ctx, config, plan)
	}
	return errors.New("usage: go run -C internal/testcluster . build|up|seed PLAN")
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
	<-ctx.Done()
	return nil
}
