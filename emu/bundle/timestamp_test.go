package bundle_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/bundle"
)

func TestTimestamp(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	made, err := bundle.Timestamp()
	require.NoError(t, err)
	assert.Equal(t, int64(1700000000), made.Unix())
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	_, err = bundle.Timestamp()
	assert.ErrorContains(t, err, "is no number")
}
