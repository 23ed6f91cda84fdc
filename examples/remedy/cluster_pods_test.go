package main

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// A history is what has become of pods and of the ConfigMaps that they read: the kubelets of the tests read none, so what a
// kubelet would have given to a container is worked out from what was in force when it started. Resource versions order it.
type history struct {
	mu       sync.Mutex // guards what follows
	settings map[string][]version
	pods     map[types.UID]*life
}

// A version is the data of a ConfigMap since a resource version; nil when it is gone.
type version struct {
	since uint64
	data  map[string]string
}

// A life is when a pod was made, and when it ran at first; 0 while it does not. Its containers read somewhere between.
type life struct{ made, ran, seen uint64 }

func resourceVersion(o metav1.Object) uint64 {
	n, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		panic(err) // etcd's are numbers
	}
	return n
}

// record writes the history until the test ends.
func (w *world) record() {
	w.Helper()
	h := &history{settings: map[string][]version{}, pods: map[types.UID]*life{}}
	w.history = h
	stop := make(chan struct{})
	all := informers.NewSharedInformerFactory(w.client, 0)
	on := func(i cache.SharedIndexInformer, see func(o metav1.Object, gone bool)) {
		locked := func(o any, gone bool) {
			if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = last.Obj
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			see(o.(metav1.Object), gone)
		}
		_, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(o any) { locked(o, false) },
			UpdateFunc: func(_, o any) { locked(o, false) }, DeleteFunc: func(o any) { locked(o, true) }})
		require.NoError(w, err)
	}
	on(all.Core().V1().ConfigMaps().Informer(), func(o metav1.Object, gone bool) {
		name, now := o.GetNamespace()+"/"+o.GetName(), version{since: resourceVersion(o)}
		if !gone {
			now.data = o.(*corev1.ConfigMap).Data
		}
		h.settings[name] = append(h.settings[name], now)
	})
	on(all.Core().V1().Pods().Informer(), func(o metav1.Object, gone bool) {
		p := o.(*corev1.Pod)
		l := h.pods[p.UID]
		if l == nil {
			l = &life{made: resourceVersion(p)}
			h.pods[p.UID] = l
		}
		if l.seen = resourceVersion(p); l.ran == 0 && p.Status.Phase == corev1.PodRunning {
			l.ran = l.seen
		}
	})
	all.Start(stop)
	all.WaitForCacheSync(stop)
	w.Cleanup(func() {
		close(stop)
		all.Shutdown()
	})
}

// seenByPods is what the containers of all running pods have: their arguments, their limits, and the environment and the files
// that they see. A value that they may or may not see, as far as can be told, is all of what it may be.
func (w *world) seenByPods() map[string][]any {
	w.Helper()
	all := map[string][]any{}
	for _, ns := range planNamespaces {
		maps, err := w.client.CoreV1().ConfigMaps(ns).List(w.Context(), metav1.ListOptions{})
		require.NoError(w, err)
		pods, err := w.client.CoreV1().Pods(ns).List(w.Context(), metav1.ListOptions{})
		require.NoError(w, err)
		require.Eventually(w, func() bool { return w.history.knows(maps.Items, pods.Items) }, eventually, tick, "the history lags behind")
		for i := range pods.Items {
			if p := &pods.Items[i]; p.DeletionTimestamp == nil {
				all[p.Labels["app"]] = append(all[p.Labels["app"]], w.history.seenBy(p))
			}
		}
	}
	return all
}

// knows tells whether the history has come as far as some objects.
func (h *history) knows(maps []corev1.ConfigMap, pods []corev1.Pod) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !slices.ContainsFunc(maps, func(m corev1.ConfigMap) bool {
		versions := h.settings[m.Namespace+"/"+m.Name]
		return len(versions) == 0 || versions[len(versions)-1].since < resourceVersion(&m)
	}) && !slices.ContainsFunc(pods, func(p corev1.Pod) bool {
		l := h.pods[p.UID]
		return l == nil || l.seen < resourceVersion(&p)
	})
}

// during are the values of a key of a ConfigMap from one resource version to another; those of 0 are what is there now.
func (h *history) during(name, key string, from, to uint64) string {
	versions, found := h.settings[name], []string{}
	for i, v := range versions {
		over := i+1 < len(versions) && versions[i+1].since <= from
		if last := i+1 == len(versions); from == 0 && !last || from != 0 && (over || v.since > to) {
			continue
		}
		value, ok := v.data[key]
		if !ok {
			value = "(unset)"
		}
		found = append(found, value)
	}
	slices.Sort(found)
	return strings.Join(slices.Compact(found), " or ")
}

func (h *history) keys(name string) []string {
	all := map[string]bool{}
	for _, v := range h.settings[name] {
		for k := range v.data {
			all[k] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (h *history) seenBy(p *corev1.Pod) any {
	h.mu.Lock()
	defer h.mu.Unlock()
	l, out := h.pods[p.UID], []any{}
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		env, files := map[string]string{}, map[string]string{}
		for _, from := range c.EnvFrom {
			name := p.Namespace + "/" + from.ConfigMapRef.Name
			for _, key := range h.keys(name) {
				env[from.Prefix+key] = h.during(name, key, l.made, l.ran)
			}
		}
		for _, e := range c.Env {
			if env[e.Name] = e.Value; e.ValueFrom != nil {
				env[e.Name] = h.during(p.Namespace+"/"+e.ValueFrom.ConfigMapKeyRef.Name, e.ValueFrom.ConfigMapKeyRef.Key, l.made, l.ran)
			}
		}
		for _, mount := range c.VolumeMounts {
			at := slices.IndexFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name && v.ConfigMap != nil })
			if at < 0 {
				continue // the token of its account
			}
			name := p.Namespace + "/" + p.Spec.Volumes[at].ConfigMap.Name
			if mount.SubPath != "" { // such a file stays as it was at the start
				files[mount.MountPath] = h.during(name, mount.SubPath, l.made, l.ran)
				continue
			}
			for _, key := range h.keys(name) {
				files[path.Join(mount.MountPath, key)] = h.during(name, key, 0, 0)
			}
		}
		out = append(out, map[string]any{"args": c.Args, "resources": c.Resources, "env": env, "files": files})
	}
	return out
}
