package uml

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A guest that does not read its messages does not block the process that sends them.
func TestForwardToNobody(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	h := &host{control: w, words: make(chan string, wordsAhead), ended: make(chan struct{})}
	go h.talk()
	for range 100_000 {
		h.forward(syscall.SIGUSR1)
	}
}
