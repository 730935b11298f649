package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFresh(t *testing.T) {
	want, err := headers()
	require.NoError(t, err)
	require.Len(t, want, 2)
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join("..", "..", "shim", "preload", "c", name))
		require.NoError(t, err)
		assert.Equal(t, string(text), string(got), "%s is stale: go run ./scripts/preload-header shim/preload/c", name)
	}
}
