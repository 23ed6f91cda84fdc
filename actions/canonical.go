package actions

import "slices"

// Canonical returns a new Registry with the 38 canonical actions.
func Canonical() *Registry {
	var r Registry
	for _, s := range slices.Concat(coreActions(), infraActions(), storageActions(), appActions(), securityActions(),
		operationsActions(), observingActions()) {
		if err := r.Add(s); err != nil {
			panic(err) // the tables below are wrong
		}
	}
	return &r
}

// The parts that several Specs share. Each call makes new ones, so that no two Specs share memory.

func required(p Parameter) Parameter {
	p.Required = true
	return p
}

func inNamespace() Parameter {
	return Parameter{Name: "namespace", Type: Namespace, Description: "Namespace of the objects."}
}

func object(name, kind, description string) Parameter {
	return Parameter{Name: name, Type: Name, Kind: kind, Description: description}
}

func deployment() Parameter { return object("deployment", "Deployment", "Name of the deployment.") }
func statefulSet() Parameter {
	return object("statefulset", "StatefulSet", "Name of the stateful set.")
}
func daemonSet() Parameter { return object("daemonset", "DaemonSet", "Name of the daemon set.") }
func pod() Parameter       { return object("pod", "Pod", "Name of the pod.") }
func node() Parameter      { return object("node", "Node", "Name of the node.") }
func database() Parameter  { return object("database", "Database", "Name of the database.") }

func volumeClaim(name, description string) Parameter {
	return object(name, "PersistentVolumeClaim", description)
}

// oneWorkload: exactly one workload, or one of the others.
func oneWorkload(others ...string) Rule {
	return Rule{OneOf: append([]string{"deployment", "statefulset", "daemonset"}, others...)}
}

// atMostOneWorkload: one workload, or one of the others, or none.
func atMostOneWorkload(others ...string) Rule {
	return Rule{AtMostOne: append([]string{"deployment", "statefulset", "daemonset"}, others...)}
}

func toggle(name string, byDefault bool, description string) Parameter {
	return Parameter{Name: name, Type: Boolean, Default: byDefault, Description: description}
}

func integer(name string, low, high int64, description string) Parameter {
	return Parameter{Name: name, Type: Integer, Min: &low, Max: &high, Description: description}
}

func span(name, byDefault string, description string) Parameter {
	return Parameter{Name: name, Type: Duration, Min: new(int64(1)), Default: byDefault, Description: description}
}

func text(name, description string) Parameter {
	return Parameter{Name: name, Type: String, Description: description}
}

func choice(name, description string, of ...string) Parameter {
	return Parameter{Name: name, Type: String, Enum: of, Description: description}
}

func withDefault(p Parameter, v any) Parameter {
	p.Default = v
	return p
}

func withFloors(p Parameter, floors ...Floor) Parameter {
	p.Floors = floors
	return p
}

// force switches a check off, so it is never less than high.
func force(skips string) Parameter {
	return withFloors(toggle("force", false, "Go on "+skips+"."), highWhen(true, "force goes on "+skips))
}

func highWhen(value any, reason string) Floor {
	return Floor{Value: value, Risk: high, Reason: reason}
}

func waitForReady() Parameter {
	return toggle("waitForReady", true, "Wait until every replica is ready.")
}

func verifyHealth() Parameter {
	return withFloors(toggle("verifyHealth", true, "Refuse a node that is not ready."),
		highWhen(false, "without verifyHealth pods may come onto a node that is not ready"))
}

// rolloutStableFor is how long a rollout must stay complete before it counts as done.
func rolloutStableFor() Parameter {
	p := span("stableFor", "10s", "How long the rollout must stay complete before the step is done.")
	p.Max = new(int64(600))
	return p
}

func alertNames(description string) Parameter {
	return Parameter{Name: "alerts", Type: StringList, Required: true, Refuse: []string{"*", ".*", ".+", "^.*$", "^.+$"},
		Description: description}
}

func services(description string) Parameter {
	return Parameter{Name: "services", Type: NameList, Description: description}
}
