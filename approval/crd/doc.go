// Package crd asks for approval with an object in a cluster, which people decide with kubectl.
//
//	kubectl get approvalrequests -n remedy
//	kubectl get approvalrequest NAME -n remedy -o yaml
//	kubectl patch approvalrequest NAME -n remedy --subresource=status --type=merge \
//	  -p '{"status":{"votes":{"ann":{"verdict":"approved","reason":"looked at the graphs"}}}}'
//
// Who may do so, RBAC says. Who did, the API server knows: an admission policy lets everybody write votes in their own name
// only, with groups that they are in. [Manifests] are the definition, the policy and roles, to be applied once a cluster.
//
//	channel, err := crd.New(config, crd.Options{Namespace: "remedy"})
//	ex, err := executor.New(executor.Config{Approver: channel, ...})
//	go channel.Run(ctx, ex)
//
// API servers enforce a policy a few seconds after it was applied: begin to ask after that. A [Channel] trusts no vote while the policy is not there as it is shipped: it looks before each. What became of a vote is in
// the object's status.answers, and of the request in status.state. Votes that were written while no process ran count once one
// does. An object that somebody deletes stays deleted; its request waits for other channels, or expires.
//
// All that was written by a model is plain text in the object.
package crd
