// Package kube has the handlers that change a Kubernetes cluster.
//
// [New] connects to a cluster; [Cluster.Handlers] are its handlers by action type, to be given to an executor: all of the
// canonical ones but those of alerts, git and messages, which packages alertmanager, gitops and notify have.
//
//	cluster, err := kube.New(config, kube.Options{Self: kube.SelfFromEnv(os.Getenv), Artifacts: artifact.Folder(dir)})
//	defer cluster.Close()
//	ex, err := executor.New(executor.Config{Handlers: cluster.Handlers(), DryRunFirst: true})
//
// Every write is a merge patch of the fields of the action and nothing else, checked strictly by the API server, under this
// package's own field manager, and only onto the object in the version that was read. What the fields were before is
// registered for the rollback first. A rollback changes a field back only if it still is as it was written; the rest it
// reports as [actions.ErrDrift].
//
// An API server that does not answer is asked again until the step's time is up. A missing right, a missing object and
// an object that refuses are permanent errors, which say what to do.
//
// A dry run looks first whether the account has all rights; [Rights] and [Roles] say which a plan needs. The runner itself is
// never harmed ([Self]). What may be secret in a former state goes to [Options.Sealed], or to a Secret that belongs to the
// object, and a journal has only a reference. When a ConfigMap or a Secret is put back, the workloads that have read what was
// written are restarted.
//
// Commands run in pods as argument lists, and never in a shell. What no package can know, such as how a database fails over, a
// site says with [Commands].
//
// All rollouts of a namespace share one watch of each kind, which stays open for a few seconds after the last of them.
package kube
