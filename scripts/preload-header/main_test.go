package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFresh(t *testing.T) {
	want, err := numbers()
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join("..", "..", "shim", "preload", "c", "numbers.h"))
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got), "numbers.h is stale: go run ./scripts/preload-header shim/preload/c/numbers.h")
}
