package actions

import (
	"time"

	"github.com/remedykit/remedy/schema"
)

const (
	none   = schema.RiskNone
	low    = schema.RiskLow
	medium = schema.RiskMedium
	high   = schema.RiskHigh
)

func coreActions() []Spec {
	const category = "core"
	return []Spec{
		{
			Name: "scale_deployment", Category: category, Idempotent: true, RiskFloor: low, Timeout: 5 * time.Minute,
			Does: "Sets the size of a deployment through its scale subresource, provided the size is still the one that was read. Refuses when an autoscaler owns the size, unless forced.",
			Done: "The change is observed, and as many replicas as asked for are up to date and ready.",
			Undo: "Scales back to the former size, if the size is still the one that was set.",
			Parameters: []Parameter{
				required(inNamespace()), required(deployment()),
				required(integer("replicas", 0, 1000, "The new size. A policy may cap it.")),
				waitForReady(),
				force("although an autoscaler owns the size"),
			},
		},
		{
			Name: "restart_pod", Aliases: []string{"restart_pods"}, Category: category, Role: Restarts, Rolls: true,
			RiskFloor: medium, Timeout: 10 * time.Minute,
			Does: "Deletes a pod, provided it is still the same one, so that its owner makes a new one; with a workload, restarts its pods like rolling_restart_pods. Refuses a pod without an owner, unless forced.",
			Done: "The owner has a ready replacement; with a workload, the rollout is complete and stays so.",
			Parameters: []Parameter{
				required(inNamespace()), pod(), deployment(), statefulSet(), daemonSet(),
				withDefault(choice("strategy", "How a workload's pods are restarted.", "rolling"), "rolling"),
				withDefault(withFloors(integer("gracePeriodSeconds", 0, 300, "Seconds the pod gets to end by itself."), killsAtOnce()), 30),
				waitForReady(),
				force("although the pod has no owner that would replace it"),
				rolloutStableFor(),
			},
			Rules: []Rule{oneWorkload("pod")},
		},
		{
			Name: "increase_resources", Aliases: []string{"increase_memory_limit"}, Category: category, Rolls: true,
			Idempotent: true, RiskFloor: low, Timeout: 10 * time.Minute,
			Does: "Raises the limits or requests of a workload's containers and nothing else, which rolls its pods. Requests stay within limits; lowering is refused; quotas and limit ranges are looked at first.",
			Done: "The rollout is complete, and nothing was killed for lack of memory since.",
			Undo: "Sets the former values again.",
			Parameters: []Parameter{
				required(inNamespace()), deployment(), statefulSet(), daemonSet(),
				{Name: "memory", Type: Quantity, Description: "The new memory limit."},
				{Name: "cpu", Type: Quantity, Description: "The new CPU limit."},
				{Name: "memoryRequest", Type: Quantity, Description: "The new memory request."},
				{Name: "cpuRequest", Type: Quantity, Description: "The new CPU request."},
				{Name: "container", Type: Name, Description: "The container to change; without it all that set the value, or the only one."},
				rolloutStableFor(),
			},
			Rules: []Rule{
				oneWorkload(),
				{AnyOf: []string{"memory", "cpu", "memoryRequest", "cpuRequest"}},
				{NotGreater: []string{"memoryRequest", "memory"}},
				{NotGreater: []string{"cpuRequest", "cpu"}},
			},
		},
		{
			Name: "rollback_deployment", Category: category, Rolls: true, RiskFloor: medium, Timeout: 10 * time.Minute,
			Does: "Gives a deployment the pod template of an earlier revision, provided nobody changed it meanwhile. Refuses a paused deployment; the same template changes nothing.",
			Done: "The rollout is complete and stays so.",
			Undo: "Rolls forward to the revision that was left.",
			Parameters: []Parameter{
				required(inNamespace()), required(deployment()),
				{Name: "revision", Type: Integer, Min: new(int64(1)), Words: []string{"previous"}, Default: "previous",
					Description: "The revision to go back to."},
				waitForReady(),
				rolloutStableFor(),
			},
		},
		{
			Name: "expand_pvc", Title: "Expand PVC", Category: category, RiskFloor: medium, Timeout: 10 * time.Minute,
			Does: "Asks for a larger volume. Its class must allow expansion, and the size must grow.",
			Done: "The capacity is at least the size, and no resize is pending.",
			Parameters: []Parameter{
				required(inNamespace()), required(volumeClaim("pvc", "Name of the persistent volume claim.")),
				{Name: "size", Type: Quantity, Required: true, Description: "The new size."},
				toggle("waitForExpansion", true, "Wait until the file system has grown."),
			},
		},
	}
}

func killsAtOnce() Floor {
	return highWhen(int64(0), "a grace period of 0 kills without letting the process end by itself")
}

func infraActions() []Spec {
	const category = "infra"
	const uncordons = "Makes the node schedulable again, if this run had cordoned it."
	return []Spec{
		{
			Name: "drain_node", Category: category, RiskFloor: high, Timeout: 15 * time.Minute,
			Does: "Cordons a node and evicts its pods one by one through the eviction API, waiting where a disruption budget holds one back.",
			Done: "Every pod that is to leave the node is gone.",
			Undo: uncordons,
			Parameters: []Parameter{
				required(node()),
				withFloors(integer("gracePeriodSeconds", 0, 3600, "Seconds each pod gets to end by itself; without it the pod's own."), killsAtOnce()),
				toggle("ignoreDaemonSets", true, "Leave the pods of daemon sets where they are."),
				withFloors(toggle("deleteEmptyDirData", false, "Evict pods although their emptyDir volumes are lost."),
					highWhen(true, "deleteEmptyDirData loses what the pods keep in emptyDir volumes")),
				force("although pods have no owner that would replace them"),
				text("podSelector", "Label selector of the pods to evict; without it all."),
			},
		},
		{
			Name: "cordon_node", Category: category, Idempotent: true, RiskFloor: medium, Timeout: time.Minute,
			Does: "Keeps new pods away from a node. Refuses the last schedulable one.",
			Done: "The node is unschedulable.",
			Undo: uncordons,
			Parameters: []Parameter{
				required(node()),
			},
		},
		{
			Name: "uncordon_node", Category: category, Idempotent: true, RiskFloor: low, Timeout: time.Minute,
			Does: "Lets new pods onto a node again. The node must be ready.",
			Done: "The node is schedulable.",
			Undo: "Cordons the node again.",
			Parameters: []Parameter{
				required(node()),
				verifyHealth(),
			},
		},
		{
			Name: "taint_node", Category: category, RiskFloor: medium, Timeout: time.Minute,
			Does: "Puts a taint on a node, by the rules of kubectl.",
			Done: "The node has the taint.",
			Undo: "Sets the former taints again.",
			Parameters: []Parameter{
				required(node()),
				required(text("key", "Key of the taint.")),
				required(withFloors(choice("effect", "What the taint does to pods that do not tolerate it.", "NoSchedule", "PreferNoSchedule", "NoExecute"),
					highWhen("NoExecute", "NoExecute evicts the pods that run on the node"))),
				text("value", "Value of the taint."),
				toggle("overwrite", false, "Replace a taint with the same key and effect."),
			},
		},
		{
			Name: "untaint_node", Category: category, Idempotent: true, RiskFloor: low, Timeout: time.Minute,
			Does: "Removes taints from a node by key, or by key and effect.",
			Done: "The node has no such taint.",
			Undo: "Sets the former taints again.",
			Parameters: []Parameter{
				required(node()),
				required(text("key", "Key of the taint.")),
				choice("effect", "Remove only the taint with this effect.", "NoSchedule", "PreferNoSchedule", "NoExecute"),
				verifyHealth(),
			},
		},
		{
			Name: "quarantine_pod", Category: category, RiskFloor: medium, Timeout: 2 * time.Minute,
			Does: "Labels a pod, takes away the labels by which services and its owner select it, and cuts it off with a network policy that the pod owns.",
			Done: "The pod is in no endpoint slice.",
			Undo: "Puts the labels back, removes the policy, and tells which pod is now surplus.",
			Parameters: []Parameter{
				required(inNamespace()), required(pod()),
				toggle("removeFromService", true, "Take the pod out of its services."),
				text("quarantineLabel", "The label that marks the pod."),
			},
		},
	}
}
