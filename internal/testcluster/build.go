package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	nodefast "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	heartbeat "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	podfast "sigs.k8s.io/kwok/kustomize/stage/pod/fast"

	"github.com/remedykit/remedy/internal/controlplane"
)

// sources are the packages of the programs that this module requires.
var sources = map[string]string{
	"etcd":                    "go.etcd.io/etcd/server/v3",
	"kube-apiserver":          "k8s.io/kubernetes/cmd/kube-apiserver",
	"kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
	"kube-scheduler":          "k8s.io/kubernetes/cmd/kube-scheduler",
	"kubectl":                 "k8s.io/kubernetes/cmd/kubectl",
	"kwok":                    "sigs.k8s.io/kwok/cmd/kwok",
}

const (
	version      = "k8s.io/component-base/version"
	alertmanager = "github.com/prometheus/alertmanager/cmd/alertmanager@v0.28.1"
)

// build builds what is missing into the cache folder.
func build(ctx context.Context) error {
	if _, err := controlplane.Built(); err == nil {
		return nil
	}
	module, err := controlplane.Module()
	if err != nil {
		return err
	}
	dir, err := controlplane.Folder(module)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	next, err := os.MkdirTemp(filepath.Dir(dir), "building-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(next)
	fmt.Fprintln(os.Stderr, "building a control plane into", dir)
	for name, source := range sources {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(next, name),
			"-ldflags", "-X "+version+".gitVersion=v1.36.3 -X "+version+".gitMajor=1 -X "+version+".gitMinor=36", source)
		cmd.Dir, cmd.Stdout, cmd.Stderr = module, os.Stderr, os.Stderr
		cmd.Env = append(cmd.Environ(), "GOWORK=off")
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("go build %s: %w", source, err)
		}
	}
	// Its versions and those of Kubernetes do not fit into one module.
	cmd := exec.CommandContext(ctx, "go", "install", alertmanager)
	cmd.Dir, cmd.Stdout, cmd.Stderr = next, os.Stderr, os.Stderr
	cmd.Env = append(cmd.Environ(), "GOWORK=off", "GOBIN="+next)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go install %s: %w", alertmanager, err)
	}
	if err := os.WriteFile(filepath.Join(next, controlplane.Stages), []byte(stages()), 0o600); err != nil {
		return err
	}
	if err := os.Rename(next, dir); err != nil && !os.IsExist(err) {
		return err
	}
	return nil
}

// stages are kwok's own, but for pods that an annotation wants slow, crashing or never ready.
func stages() string {
	ready := strings.Replace(podfast.DefaultPodReady, "    matchExpressions:\n", "    matchExpressions:\n"+
		"    - key: '.metadata.annotations[\"remedy.test/pod\"]'\n      operator: 'DoesNotExist'\n", 1)
	slow := strings.NewReplacer("name: pod-ready", "name: pod-ready-slow", "    matchExpressions:\n", "    matchExpressions:\n"+
		"    - key: '.metadata.annotations[\"remedy.test/pod\"]'\n      operator: 'In'\n      values:\n      - 'slow'\n",
		"  next:\n", "  delay:\n    durationMilliseconds: 2000\n  next:\n").Replace(podfast.DefaultPodReady)
	return strings.Join([]string{nodefast.DefaultNodeInit, heartbeat.DefaultNodeHeartbeatWithLease, ready, slow, crash,
		podfast.DefaultPodComplete, podfast.DefaultPodDelete}, "\n---\n")
}

// crash has a pod's containers crash for ever.
const crash = `apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata:
  name: pod-crash
spec:
  resourceRef:
    apiGroup: v1
    kind: Pod
  selector:
    matchExpressions:
    - key: '.metadata.deletionTimestamp'
      operator: 'DoesNotExist'
    - key: '.metadata.annotations["remedy.test/pod"]'
      operator: 'In'
      values:
      - 'crash'
    - key: '.status.phase'
      operator: 'In'
      values:
      - 'Pending'
  next:
    statusTemplate: |
      {{ $now := Now }}
      phase: Running
      conditions:
      - {type: Initialized, status: "True", lastTransitionTime: {{ $now | Quote }}}
      - {type: Ready, status: "False", reason: ContainersNotReady, lastTransitionTime: {{ $now | Quote }}}
      - {type: ContainersReady, status: "False", reason: ContainersNotReady, lastTransitionTime: {{ $now | Quote }}}
      containerStatuses:
      {{ range .spec.containers }}
      - name: {{ .name | Quote }}
        image: {{ .image | Quote }}
        imageID: ""
        ready: false
        restartCount: 5
        state: {waiting: {reason: CrashLoopBackOff, message: "back-off 5m0s restarting failed container"}}
        lastState: {terminated: {exitCode: 1, reason: Error, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}}
      {{ end }}
`
