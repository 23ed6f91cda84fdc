package actions

import "time"

func operationsActions() []Spec {
	return []Spec{
		{
			Name: "restart_network", Category: "network", Role: Restarts, Rolls: true, RiskFloor: high, Timeout: 10 * time.Minute,
			Does: "Restarts the workload of a network component such as coredns. In a protected namespace only what the policy lists. No match is an error.",
			Done: "The rollout is complete and stays so.",
			Parameters: []Parameter{
				required(object("component", "Component", "The component, such as coredns.")),
				inNamespace(),
				rolloutStableFor(),
			},
		},
		{
			Name: "reset_service_mesh", Category: "network", Role: Restarts, RiskFloor: high, Timeout: 15 * time.Minute,
			Does: "Restarts the mesh's control plane, then the workloads of the namespace that have its sidecar.",
			Done: "The rollouts are complete and stay so.",
			Parameters: []Parameter{
				required(inNamespace()),
				choice("meshType", "The mesh; without it the one that is found.", "istio", "linkerd", "consul"),
				rolloutStableFor(),
			},
		},
		{
			Name: "failover_database", Category: "database", RiskFloor: high, Timeout: 10 * time.Minute,
			Does: "Runs the fail-over that the site configured.",
			Done: "The site's probe says that the new primary writes.",
			Parameters: []Parameter{
				required(inNamespace()), required(database()),
				{Name: "targetReplica", Type: Name, Description: "The replica to promote; without it the site's command decides."},
				force("although the replica lags behind or the primary still answers"),
			},
		},
		{
			Name: "repair_database", Category: "database", RiskFloor: high, Timeout: 30 * time.Minute,
			Does: "Runs the repair that the site configured; terminate_deadlocks is built in for PostgreSQL and ends the sessions that block others for too long.",
			Done: "The repair has succeeded, and what it ended or changed is told.",
			Parameters: []Parameter{
				required(inNamespace()), required(database()),
				required(choice("repairType", "What to repair.", "index", "full", "corruption_check", "terminate_deadlocks")),
				withFloors(toggle("backupBeforeRepair", true, "Take a backup first."),
					highWhen(false, "without a backup a repair that goes wrong cannot be taken back")),
			},
		},
		{
			Name: "enable_debug_mode", Category: "monitoring", Role: Diagnoses, Rolls: true, RiskFloor: low, Timeout: 10 * time.Minute,
			Does: "Adds flags or environment variables for debugging to a workload, which rolls its pods, and takes them away again when the time is over.",
			Done: "The rollout is complete and stays so.",
			Undo: "Takes the flags and variables away again.",
			Parameters: []Parameter{
				required(inNamespace()), deployment(), statefulSet(), daemonSet(),
				{Name: "debugFlags", Type: StringList, Description: "Command line flags to add."},
				{Name: "env", Type: StringMap, Description: "Environment variables to add."},
				span("duration", "1h", "How long debugging stays on."),
				toggle("autoRevert", true, "Take it away again when the duration is over."),
				rolloutStableFor(),
			},
			Rules: []Rule{oneWorkload()},
		},
		{
			Name: "create_heap_dump", Category: "monitoring", Effect: Reads, Role: Diagnoses, RiskFloor: low, Timeout: 5 * time.Minute,
			Artifact: "heap_dump",
			Does:     "Lets the runtime of a pod (JVM, Go, Node) write a heap dump, after a look at the free disk, and copies it out with a checksum.",
			Done:     "The artifact is written and its checksum is right.",
			Parameters: []Parameter{
				required(inNamespace()), pod(), deployment(), statefulSet(), daemonSet(),
				{Name: "outputPath", Type: Path, Description: "File inside the pod; without it a temporary one."},
				toggle("liveObjectsOnly", true, "Leave out what a garbage collection would free."),
			},
			Rules: []Rule{oneWorkload("pod")},
		},
		{
			Name: "collect_diagnostics", Category: "monitoring", Effect: Reads, Role: Diagnoses, Idempotent: true, RiskFloor: none, Timeout: 5 * time.Minute,
			Artifact: "diagnostics", ArtifactParameter: "type",
			Does: "Gathers objects, events, logs and metrics into one bundle, with a heap dump when the type asks for one.",
			Done: "The artifact is written.",
			Parameters: []Parameter{
				inNamespace(), deployment(), statefulSet(), daemonSet(), pod(), database(),
				text("type", "What to gather, such as heap_dump; it names the artifact."),
				{Name: "metrics", Type: StringList, Description: "Names of metrics to gather."},
				toggle("includeLogs", true, "Gather logs."),
				toggle("includeMetrics", true, "Gather metrics."),
				toggle("includeEvents", true, "Gather events."),
				span("timeRange", "1h", "How far to look back."),
			},
			Rules: []Rule{
				{AnyOf: []string{"namespace", "deployment", "statefulset", "daemonset", "pod", "database"}},
				atMostOneWorkload(),
			},
		},
		{
			Name: "optimize_resources", Category: "resource", RiskFloor: medium, Timeout: 10 * time.Minute,
			Does: "Works out requests and limits from metrics, and applies them when it is no dry run.",
			Done: "The recommendation is told; when it was applied, the rollout is complete and stays so.",
			Undo: "Sets the former values again.",
			Parameters: []Parameter{
				required(inNamespace()), deployment(), statefulSet(), daemonSet(),
				choice("strategy", "What to optimise for.", "cost", "performance", "balanced"),
				toggle("dryRun", true, "Only recommend."),
				rolloutStableFor(),
			},
			Rules: []Rule{atMostOneWorkload()},
		},
		{
			Name: "migrate_workload", Category: "resource", Rolls: true, RiskFloor: high, Timeout: 15 * time.Minute,
			Does: "Moves a workload to another node by affinity, after a look at fit and readiness, or to another cluster by the site's command.",
			Done: "The workload is ready where it was moved to.",
			Undo: "Sets the former affinity again.",
			Parameters: []Parameter{
				required(inNamespace()), deployment(), statefulSet(), daemonSet(),
				{Name: "targetNode", Type: Name, Description: "The node to move to."},
				text("targetCluster", "The cluster to move to."),
				toggle("drainSource", false, "Drain the node that the workload leaves."),
				rolloutStableFor(),
			},
			Rules: []Rule{oneWorkload(), {OneOf: []string{"targetNode", "targetCluster"}}},
		},
	}
}
