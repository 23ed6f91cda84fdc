package actions

import (
	"sync"

	"github.com/remedykit/remedy/schema"
)

// A World holds objects as the earlier steps of a dry run would have left them, so that a step's dry run sees what those
// before it would have done. The zero World is empty. It is safe for concurrent use.
type World struct {
	mu      sync.Mutex // guards objects
	objects map[schema.Target]map[string]any
}

// Object returns an object as an earlier step would have left it; ok is false when none would have touched it. A nil
// object with ok would have been deleted. It must not be changed. A nil World has no objects.
func (w *World) Object(t schema.Target) (object map[string]any, ok bool) {
	if w == nil {
		return nil, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	object, ok = w.objects[t]
	return object, ok
}

// Predict notes how a step would leave an object; nil for one that it would delete. On a nil World it does nothing.
func (w *World) Predict(t schema.Target, object map[string]any) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.objects == nil {
		w.objects = map[schema.Target]map[string]any{}
	}
	if object != nil {
		object = clone(object).(map[string]any)
	}
	w.objects[t] = object
}

// World is what earlier steps of a dry run would have left; nil outside of a dry run.
func (r *Request) World() *World {
	if d, ok := r.Conductor.(interface{ World() *World }); ok {
		return d.World()
	}
	return nil
}
