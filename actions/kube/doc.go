// Package kube has the handlers that change a Kubernetes cluster.
//
// [New] connects to a cluster; [Cluster.Handlers] are its handlers by action type, to be given to an executor. So far there are
// cordon_node, uncordon_node, taint_node, untaint_node, scale_deployment, scale_statefulset, rolling_restart_pods,
// restart_daemonset, restart_statefulset, patch_config_map, update_hpa and update_network_policy; the others follow.
//
// Every write is a merge patch of the fields of the action and nothing else, checked strictly by the API server, under this
// package's own field manager, and only onto the object in the version that was read. What the fields were before is
// registered for the rollback first. A rollback changes a field back only if it still is as it was written; the rest it
// reports as [actions.ErrDrift].
//
// An API server that does not answer is asked again until the step's time is up. A missing right, a missing object and
// an object that refuses are permanent errors, which say what to do.
package kube
