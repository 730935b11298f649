// Package fields checks the messages of entrypoints: a field that Fields does not visit is lost on
// the way, and no compiler reports it.
package fields

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/entrypoint"
)

// Arrive sends the message full, whose fields are all set, into the empty one, and compares the
// two. Fields with the names in unsent, such as .Outer.Inner, are not set and not sent.
func Arrive(t testing.TB, full, empty entrypoint.Message, unsent ...string) {
	t.Helper()
	for _, name := range zero(reflect.ValueOf(full).Elem(), "") {
		assert.Contains(t, unsent, name, "%T: the sample has no value for it", full)
	}
	words, err := entrypoint.Write(full)
	require.NoError(t, err)
	require.NoError(t, entrypoint.Read(words, empty))
	require.Equal(t, full, empty)
}

// zero lists the names of the fields that are not set; of a list, it looks at the first element.
func zero(v reflect.Value, name string) []string {
	switch {
	case v.IsZero():
		return []string{name}
	case v.Kind() == reflect.Pointer:
		return zero(v.Elem(), name)
	case v.Kind() == reflect.Slice && v.Len() > 0 && v.Type().Elem().Kind() == reflect.Struct:
		return zero(v.Index(0), name)
	case v.Kind() != reflect.Struct:
		return nil
	}
	var names []string
	for i := range v.NumField() {
		names = append(names, zero(v.Field(i), name+"."+v.Type().Field(i).Name)...)
	}
	return names
}
