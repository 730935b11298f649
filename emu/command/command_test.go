package command

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCandidates(t *testing.T) {
	require.Equal(t, []string{"a/b"}, Candidates("a/b", []string{"PATH=/x"}))
	require.Equal(t, []string{"/x/a", "./a", "y/a"}, Candidates("a", []string{"Z=", "PATH=/x::y", "PATH=/z"}))
	require.Equal(t, []string{"/bin/a", "/usr/bin/a"}, Candidates("a", nil))
	require.Equal(t, []string{""}, Candidates("", []string{"PATH=/x"}))
}
