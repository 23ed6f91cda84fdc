package kube

// execHandlers are the handlers that run commands in pods, or gather what pods and the cluster have to tell.
func (c *Cluster) execHandlers() map[string]handler {
	return map[string]handler{}
}
