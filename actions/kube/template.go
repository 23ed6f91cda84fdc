package kube

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

var (
	podSpec        = []string{"spec", "template", "spec"}
	containersPath = append(podSpec[:3:3], "containers")
)

// container is the place of something in a container of a workload.
func container(name string, path ...string) []string {
	return append(append(containersPath[:4:4], name), path...)
}

// named are the lists of a pod template whose items have names, by which they are merged, with what is in them of that kind.
var named = []string{"containers", "initContainers"}

// workloadObject has a workload's containers by name, and their environment too, so that each is a field of its own.
func workloadObject(w runtime.Object, err error) (object, error) {
	o, err := objectOf(w, err)
	if err != nil {
		return nil, err
	}
	spec, _ := o.at(podSpec...).(map[string]any)
	return with(withTemplate(o, byNames), orderPath, ordered(spec)), nil
}

// orderPath is where an object has the order of what it has by name: that of containers is kubectl's to choose from, and
// variables can refer to those before them.
var orderPath = []string{"order"}

// ordered are the names in the lists of a pod spec, and in those of its containers.
func ordered(spec map[string]any) map[string]any {
	out := map[string]any{}
	for _, list := range named {
		items, _ := spec[list].([]any)
		out[list] = names(items)
		for _, c := range items {
			if m, ok := c.(map[string]any); ok {
				env, _ := m["env"].([]any)
				out[list+"/"+fmt.Sprint(m["name"])] = names(env)
			}
		}
	}
	return out
}

func names(items []any) []any {
	out := []any{}
	for _, item := range items {
		m, _ := item.(map[string]any)
		out = append(out, m["name"])
	}
	return out
}

// withTemplate is a workload with its pod spec changed.
func withTemplate(o object, change func(map[string]any) map[string]any) object {
	spec, ok := o.at(podSpec...).(map[string]any)
	if !ok {
		return o
	}
	return with(o, podSpec, change(spec))
}

// byNames has the containers of a pod spec, and their environment, by name.
func byNames(spec map[string]any) map[string]any {
	out := maps.Clone(spec)
	for _, list := range named {
		all := byName(spec[list])
		if all == nil {
			continue
		}
		for name, c := range all {
			if m, ok := c.(map[string]any); ok && m["env"] != nil {
				m = maps.Clone(m)
				m["env"] = any(byName(m["env"]))
				all[name] = m
			}
		}
		out[list] = all
	}
	return out
}

// byName is a list of objects by their names; nil when it is none.
func byName(list any) map[string]any {
	items, ok := list.([]any)
	if !ok {
		return nil
	}
	out := map[string]any{}
	for _, item := range items {
		m, _ := item.(map[string]any)
		name, _ := m["name"].(string)
		out[name] = item
	}
	return out
}

// strategic makes a strategic merge patch of a merge patch that has containers and their environment by name, and keeps their
// order.
func strategic(live object, fields []field) ([]byte, error) {
	data, err := patchOf(live, fields)
	if err != nil {
		return nil, err
	}
	var patch object
	if err := json.Unmarshal(data, &patch); err != nil {
		return nil, err
	}
	patch = withTemplate(patch, func(spec map[string]any) map[string]any {
		out := maps.Clone(spec)
		for _, list := range named {
			all, ok := spec[list].(map[string]any)
			if !ok {
				continue
			}
			for name, c := range all {
				if m, ok := c.(map[string]any); ok {
					if env, ok := m["env"].(map[string]any); ok {
						m = maps.Clone(m)
						order := inOrder(live, list+"/"+name, env)
						m["env"], m["$setElementOrder/env"] = listed(order, env), order
						all[name] = m
					}
				}
			}
			order := inOrder(live, list, all)
			out[list], out["$setElementOrder/"+list] = listed(order, all), order
		}
		return out
	})
	return json.Marshal(patch)
}

// inOrder are the names of a list as they are in an object and in a patch of it, new ones last.
func inOrder(live object, list string, patch map[string]any) []any {
	now, _ := live.at(append(orderPath[:1:1], list)...).([]any)
	out := []any{}
	for _, name := range now {
		if item, patched := patch[fmt.Sprint(name)]; !patched || item != nil {
			out = append(out, map[string]any{"name": name})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(patch)) {
		if patch[name] != nil && !slices.Contains(now, any(name)) {
			out = append(out, map[string]any{"name": name})
		}
	}
	return out
}

// listed is the list that patches items by name: those that stay in an order, and those that go.
func listed(order []any, items map[string]any) []any {
	list := []any{}
	for _, o := range order {
		name, _ := o.(map[string]any)["name"].(string)
		if item, ok := items[name].(map[string]any); ok {
			item = maps.Clone(item)
			item["name"] = name
			list = append(list, item)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(items)) {
		if items[name] == nil {
			list = append(list, map[string]any{"name": name, "$patch": "delete"})
		}
	}
	return list
}

// hides the environment, which may hold secrets.
func (workloads) hides(path []string) (former, latter bool) {
	hidden := slices.Contains(path, "env")
	return hidden, hidden
}

// mainContainer is the container that an action is about which names none: the one that the annotation of kubectl names, else
// the first.
func mainContainer(template *corev1.PodTemplateSpec) string {
	if name := template.Annotations["kubectl.kubernetes.io/default-container"]; name != "" {
		return name
	}
	if len(template.Spec.Containers) > 0 {
		return template.Spec.Containers[0].Name
	}
	return ""
}
