package actions

import "time"

func observingActions() []Spec {
	return []Spec{
		{
			Name: "health_check", Aliases: []string{"verify_deployment"}, Category: "verify", Effect: Reads, Role: Verifies,
			Idempotent: true, RiskFloor: none, Timeout: 2 * time.Minute, GateParameters: []string{"endpoint", "expectedStatus"},
			Does: "Looks at the health of a workload, a pod or services. With an endpoint or a status to expect it is a gate: what is unhealthy fails the step. Without, it reports what it finds.",
			Done: "The health is known; as a gate, everything is healthy.",
			Parameters: []Parameter{
				deployment(), statefulSet(), daemonSet(), object("service", "Service", "Name of the service."), services("Names of the services."), pod(),
				inNamespace(),
				text("endpoint", "Path to ask, such as /healthz."),
				withDefault(integer("expectedStatus", 100, 599, "HTTP status that means healthy."), 200),
			},
			Rules: []Rule{oneWorkload("service", "services", "pod")},
		},
		{
			Name: "verify_recovery", Category: "verify", Effect: Reads, Role: Verifies, Idempotent: true, RiskFloor: none, Timeout: 5 * time.Minute,
			Gate: true,
			Does: "Watches services until every one was healthy for a while without a break.",
			Done: "Every service was healthy for that long.",
			Parameters: []Parameter{
				required(services("Names of the services.")),
				inNamespace(),
				text("healthEndpoint", "Path to ask, such as /healthz."),
				span("stableFor", "30s", "How long every service must be healthy without a break."),
			},
		},
		{
			Name: "correlate_alerts", Category: "alerts", Effect: Reads, Role: Correlates, Idempotent: true, RiskFloor: none, Timeout: time.Minute,
			Does: "Groups alerts by start and by the labels they share, and ranks what may be their common cause.",
			Done: "The ranking is told.",
			Parameters: []Parameter{
				alertNames("Names of the alerts."),
				span("correlationWindow", "5m", "Alerts that start within this time of each other belong together."),
			},
		},
		{
			Name: "silence_alerts", Category: "alerts", Effect: External, Role: Silences, Idempotent: true, RiskFloor: low, Timeout: time.Minute,
			Does: "Silences alerts by name, one silence each; asked again it finds its own.",
			Done: "Every silence is active.",
			Undo: "Expires the silences.",
			Parameters: []Parameter{
				alertNames("Names of the alerts. A name that matches everything is refused."),
				{Name: "duration", Type: Duration, Required: true, Min: new(int64(60)), Max: new(int64(24 * 60 * 60)),
					Description: "How long the alerts stay silent. A policy may lower the most."},
				text("reason", "Why; it stands in the silence's comment."),
			},
		},
		{
			Name: "update_git_manifests", Category: "gitops", Effect: External, Role: Records,
			RiskFloor: low, Timeout: 5 * time.Minute,
			Does: "Edits a YAML file in a repository with its comments kept, on a branch of its own, and opens a pull request. It never pushes to the base branch.",
			Done: "The branch is pushed, and the pull request is open when one was asked for.",
			Undo: "Closes the pull request and deletes the branch.",
			Parameters: []Parameter{
				{Name: "repository", Type: String, Kind: "Repository", Required: true, Description: "The repository."},
				{Name: "path", Type: RelativePath, Kind: "Repository", Required: true, Description: "The file in the repository."},
				{Name: "patch", Type: Object, Required: true, Description: "The values to change."},
				toggle("createPR", true, "Open a pull request."),
				text("baseBranch", "The branch to start from; without it the repository's own."),
			},
		},
		{
			Name: "notify_only", Category: "fallback", Effect: External, Role: Records, Notice: true, AnyParameters: true,
			RiskFloor: none, Timeout: time.Minute,
			Does: "Tells people something by webhook, Slack or e-mail and changes nothing.",
			Done: "The message is delivered.",
			Parameters: []Parameter{
				text("message", "The text; without it the step's description."),
				text("type", "What it becomes, such as jira."),
				text("channel", "Where it goes."),
				text("project", "The project that it belongs to."),
				text("priority", "How urgent it is."),
				text("severity", "How bad it is."),
				{Name: "attachments", Type: StringList, Description: "Artifacts of earlier steps to attach."},
			},
		},
	}
}
