package actions

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remedykit/remedy/schema"
)

// Decode stores the parameters, defaults included, in a struct by its json tags; a [time.Duration] takes what the
// document writes ("90s", "7d"). A parameter without a field, and a value that does not fit, is an error. Only reason,
// which every action accepts, may go without a field.
func (p Parameters) Decode(into any) error {
	t := reflect.TypeOf(into)
	if t == nil || t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("actions: parameters can be decoded into a pointer to a struct, not a %T", into)
	}
	all := slices.Clone(p.list)
	if p.spec != nil {
		for i := range p.spec.Parameters {
			if d := &p.spec.Parameters[i]; d.Default != nil && !p.Given(d.Name) {
				all = append(all, parameter{d.Name, d.Default})
			}
		}
		slices.SortFunc(all, byName)
	}
	fields := jsonFields(t.Elem())
	b := []byte{'{'}
	for _, one := range all {
		field, ok := fields[one.name]
		switch {
		case !ok && one.name == "reason":
			continue
		case !ok:
			return fmt.Errorf("actions: parameter %s has no field in %v", one.name, t.Elem())
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(appendString(b, one.name), ':')
		text, isString := one.value.(string)
		if d, isDuration := one.value.(time.Duration); isDuration {
			text, isString = d.String(), true
		}
		if field == durationType && isString {
			d, err := schema.ParseDuration(text)
			if err != nil {
				return fmt.Errorf("actions: parameter %s: %w", one.name, err)
			}
			b = strconv.AppendInt(b, int64(d), 10)
			continue
		}
		b = appendValue(b, one.value)
	}
	b = append(b, '}')
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("actions: parameters do not fit %v: %w", t.Elem(), err)
	}
	return nil
}

var durationType = reflect.TypeFor[time.Duration]()

// jsonFields returns the types of a struct's fields by their JSON names, pointers taken off.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		name, ok := jsonName(f)
		if !ok {
			continue
		}
		ft := f.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		fields[name] = ft
	}
	return fields
}

// jsonName returns the JSON name of a field; ok is false when it has none of its own.
func jsonName(f reflect.StructField) (name string, ok bool) {
	tag := f.Tag.Get("json")
	if !f.IsExported() || tag == "-" {
		return "", false
	}
	name, _, _ = strings.Cut(tag, ",")
	if name == "" {
		if f.Anonymous {
			return "", false
		}
		name = f.Name
	}
	return name, true
}
