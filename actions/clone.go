package actions

import (
	"maps"
	"slices"
)

// clone copies the lists and objects of v, all the way down, and makes every Go integer an int64.
func clone(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = clone(item)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			out[k] = clone(item)
		}
		return out
	case []string:
		return append(make([]string, 0, len(v)), v...)
	case map[string]string:
		return maps.Clone(v)
	case int, int32, int16, int8, uint, uint64, uint32, uint16, uint8:
		if n, ok := integerOf(v); ok {
			return n
		}
	}
	return v
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
