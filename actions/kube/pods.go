package kube

// podHandlers are the handlers of single pods, volumes and whole nodes.
func (c *Cluster) podHandlers() map[string]handler {
	return map[string]handler{}
}
