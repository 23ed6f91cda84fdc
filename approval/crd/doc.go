// Package crd asks for approval with an object in a cluster, which people decide with kubectl.
//
//	kubectl get approvalrequests -n remedy
//	kubectl get approvalrequest NAME -n remedy -o yaml
//	kubectl patch approvalrequest NAME -n remedy --subresource=status --type=merge \
//	  -p '{"status":{"votes":{"ann":{"verdict":"approved","reason":"looked at the graphs"}}}}'
//
// Who may do so, RBAC says. Who did, the API server knows: an admission policy lets everybody write votes in their own name
// only (kubectl auth whoami tells it), with groups that they are in. A yes can be changed while the request is open, a no stays.
// [Manifests] are the definition, the policy and roles, to be applied once a cluster.
//
//	channel, err := crd.New(config, crd.Options{Namespace: "remedy"})
//	ex, err := executor.New(executor.Config{Approver: channel, ...})
//	go channel.Run(ctx, ex)
//
// What became of a vote is in the object's status.answers, and of the request in status.state. Votes that were written while no
// process ran count once one does.
//
// # Trust
//
// Nobody is asked, and no vote counts, unless the policy is there as it is shipped, bound in the whole cluster, and seen to
// refuse something. An object names the policy that it was made under; when that is changed or put back later, its votes count
// no more, and the request is asked anew when its run is resumed. An API server takes a few seconds to notice a policy: asking fails
// until then, and [approval.Broadcast] tries again.
//
// # Objects
//
// An object that somebody deletes stays deleted until its run is resumed; its request waits for other channels, or expires.
// Closed ones are kept for the record, and not watched:
//
//	kubectl delete approvalrequests -n remedy --field-selector status.state=granted
//
// All that was written by a model is plain text in the object.
package crd
