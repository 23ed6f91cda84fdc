// Package controlplane starts a real Kubernetes control plane on this machine: etcd, kube-apiserver,
// kube-controller-manager, kube-scheduler, and kwok in the place of the kubelets, so that rollouts, evictions, exec and
// logs behave as they do on a cluster.
//
// The programs are built once, into the user's cache folder, by the module internal/testcluster:
//
//	go run -C internal/testcluster . build
//
// Everything listens on free ports of 127.0.0.1 and keeps its data in a temporary folder. All processes end with the one
// that started them, also when it is killed.
//
// Package kubetest shares one cluster between the tests of a package.
package controlplane
