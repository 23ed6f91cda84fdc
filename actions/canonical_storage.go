package actions

import "time"

func storageActions() []Spec {
	const category = "storage"
	return []Spec{
		{
			Name: "cleanup_storage", Category: category, RiskFloor: high, Timeout: 10 * time.Minute,
			Does: "Deletes old files below a path inside a pod. The path must be one that the policy allows and must not lead out of it.",
			Done: "The files are gone and the bytes freed are told.",
			Parameters: []Parameter{
				required(inNamespace()), pod(), deployment(), statefulSet(), daemonSet(),
				{Name: "path", Type: Path, Required: true, Description: "Folder to clean up."},
				{Name: "ageThreshold", Type: Duration, Default: "7d", Description: "Delete only what was last changed longer ago than this."},
				toggle("dryRun", false, "Only tell what would be deleted."),
			},
			Rules: []Rule{oneWorkload("pod")},
		},
		{
			Name: "backup_data", Category: category, Effect: External, Role: BacksUp, RiskFloor: low, Timeout: 30 * time.Minute,
			Artifact: "backup",
			Does:     "Copies data to a safe place: a volume snapshot of a claim, the site's own command for a database, files of a pod as an archive with a checksum.",
			Done:     "The copy is not empty and its checksum was read back.",
			Parameters: []Parameter{
				required(inNamespace()), deployment(), statefulSet(), daemonSet(),
				volumeClaim("pvc", "Name of the persistent volume claim."), pod(), database(),
				{Name: "paths", Type: PathList, Description: "Files and folders inside the pod."},
				text("destination", "Where the copy goes; without it the runner's artifact store."),
				withDefault(integer("retentionDays", 1, 365, "Days for which the copy is kept."), 30),
			},
			Rules: []Rule{oneWorkload("pvc", "pod", "database")},
		},
		{
			Name: "compact_storage", Category: category, RiskFloor: medium, Timeout: 60 * time.Minute,
			Does: "Runs the compaction that the site configured.",
			Done: "The site's command has succeeded.",
			Parameters: []Parameter{
				required(inNamespace()), pod(), deployment(), statefulSet(), daemonSet(),
				volumeClaim("volume", "Name of the persistent volume claim."),
			},
			Rules: []Rule{oneWorkload("pod", "volume")},
		},
	}
}

func appActions() []Spec {
	const category = "app"
	return []Spec{
		{
			Name: "update_hpa", Title: "Update HPA", Category: category, Idempotent: true, RiskFloor: low, Timeout: time.Minute,
			Does: "Changes the given fields of an autoscaler. The least size must not exceed the greatest, the live values included.",
			Done: "The autoscaler has the values.",
			Undo: "Sets the former values again.",
			Parameters: []Parameter{
				required(inNamespace()), required(object("hpa", "HorizontalPodAutoscaler", "Name of the autoscaler.")),
				integer("minReplicas", 1, 1000, "Least size."),
				integer("maxReplicas", 1, 1000, "Greatest size."),
				integer("targetCPUUtilization", 1, 1000, "CPU to aim for, in percent of the request."),
				integer("targetMemoryUtilization", 1, 1000, "Memory to aim for, in percent of the request."),
			},
			Rules: []Rule{
				{AnyOf: []string{"minReplicas", "maxReplicas", "targetCPUUtilization", "targetMemoryUtilization"}},
				{NotGreater: []string{"minReplicas", "maxReplicas"}},
			},
		},
		{
			Name: "restart_daemonset", Title: "Restart DaemonSet", Category: category, Role: Restarts, Rolls: true, RiskFloor: medium, Timeout: 10 * time.Minute,
			Does: "Restarts the pods of a daemon set, node by node.",
			Done: "The rollout is complete and stays so.",
			Parameters: []Parameter{
				required(inNamespace()), required(daemonSet()),
				choice("strategy", "How the pods are restarted; without it the daemon set's own way.", "one-at-a-time", "rolling"),
				rolloutStableFor(),
			},
		},
		{
			Name: "scale_statefulset", Title: "Scale StatefulSet", Category: category, Idempotent: true, RiskFloor: medium, Timeout: 10 * time.Minute,
			Does: "Sets the size of a stateful set through its scale subresource, provided the size is still the one that was read. Refuses when an autoscaler owns the size, unless forced.",
			Done: "The change is observed, and as many replicas as asked for are up to date and ready.",
			Undo: "Scales back to the former size, if the size is still the one that was set.",
			Parameters: []Parameter{
				required(inNamespace()), required(statefulSet()),
				required(integer("replicas", 0, 1000, "The new size. A policy may cap it.")),
				waitForReady(),
				force("although an autoscaler owns the size"),
			},
		},
		{
			Name: "restart_statefulset", Title: "Restart StatefulSet", Category: category, Role: Restarts, Rolls: true, RiskFloor: high, Timeout: 15 * time.Minute,
			Does: "Restarts the pods of a stateful set in their order. Refuses the update strategy OnDelete, which restarts nothing.",
			Done: "The rollout is complete and stays so.",
			Parameters: []Parameter{
				required(inNamespace()), required(statefulSet()),
				withDefault(choice("strategy", "How the pods are restarted.", "rolling"), "rolling"),
				rolloutStableFor(),
			},
		},
		{
			Name: "rolling_restart_pods", Aliases: []string{"rollout_restart"}, Category: category, Role: Restarts, Rolls: true,
			RiskFloor: medium, Timeout: 10 * time.Minute,
			Does: "Restarts the pods of a workload by marking its pod template, as kubectl rollout restart does.",
			Done: "The rollout of the generation that was written is complete and stays so. A missed progress deadline or a crash loop fails it early.",
			Parameters: []Parameter{
				required(inNamespace()), deployment(), statefulSet(), daemonSet(),
				choice("strategy", "How the pods are restarted; without it the workload's own way.", "one-at-a-time", "rolling"),
				waitForReady(),
				rolloutStableFor(),
			},
			Rules: []Rule{oneWorkload()},
		},
		{
			Name: "patch_config_map", Title: "Patch ConfigMap", Category: category, Idempotent: true, RiskFloor: low, Timeout: time.Minute,
			Does: "Changes keys of a config map, provided nobody changed it meanwhile, and tells which workloads read it. Refuses an immutable one.",
			Done: "The config map has the values.",
			Undo: "Sets the former values again and removes keys that were absent.",
			Parameters: []Parameter{
				required(inNamespace()), required(object("configMap", "ConfigMap", "Name of the config map.")),
				{Name: "patch", Type: StringMap, Required: true, Description: "Keys and their new values."},
			},
		},
	}
}

func securityActions() []Spec {
	const category = "security"
	return []Spec{
		{
			Name: "rotate_secrets", Category: category, RiskFloor: high, Timeout: 10 * time.Minute,
			Does: "Gives keys of a secret new values from the site's generator and restarts what uses them. Values are never shown.",
			Done: "The secret has the new values and its consumers run with them.",
			Undo: "Restores the values that were backed up and restarts the consumers.",
			Parameters: []Parameter{
				required(inNamespace()), required(object("secret", "Secret", "Name of the secret.")),
				{Name: "keys", Type: StringList, Description: "Keys to rotate; without it all."},
				toggle("restartPods", true, "Restart the workloads that use the secret."),
				withFloors(toggle("backupOldSecret", true, "Keep the old values so that they can be restored."),
					highWhen(false, "without a backup the old values cannot be restored")),
			},
		},
		{
			Name: "audit_logs", Category: category, Effect: Reads, Role: Diagnoses, Idempotent: true, RiskFloor: none, Timeout: 5 * time.Minute,
			Artifact: "audit_logs",
			Does:     "Gathers events and logs of a namespace, a workload or a pod.",
			Done:     "The artifact is written.",
			Parameters: []Parameter{
				required(inNamespace()), deployment(), statefulSet(), daemonSet(), pod(),
				span("timeRange", "24h", "How far to look back."),
				withDefault(choice("outputFormat", "Format of the artifact.", "json", "text"), "json"),
			},
			Rules: []Rule{atMostOneWorkload("pod")},
		},
		{
			Name: "update_network_policy", Category: category, Idempotent: true, RiskFloor: high, Timeout: time.Minute,
			Does: "Replaces the given parts of a network policy, checked by the API server first.",
			Done: "The policy has the rules.",
			Undo: "Sets the former spec again.",
			Parameters: []Parameter{
				required(inNamespace()), required(object("networkPolicy", "NetworkPolicy", "Name of the network policy.")),
				{Name: "rules", Type: Object, Required: true, Description: "The parts to replace, as in the policy's spec."},
			},
		},
	}
}
