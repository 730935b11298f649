package apt

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/archive"
)

// A mirror that says nothing more is left, whatever apt-get is at, and although apt's own timeout
// is far; and so is its method, whose connection ends.
func TestStall(t *testing.T) {
	a := archive.New(t)
	a.Add("other", "1.0", nil)
	a.Index()
	archive.Configure(t, a.URL)
	get := Get{Dir: t.TempDir(), Patience: Patience{Answer: time.Hour, Stall: time.Second, Lock: time.Minute}}
	_, err := get.Run(t.Context(), "update")
	require.NoError(t, err)
	for _, tt := range []struct{ name, file string }{
		{"install", ".deb"},
		{"download", ".deb"},
		{"update", "/Release"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			left := make(chan bool, 1)
			a.Index() // apt-get update takes what is new only
			a.Fail(tt.file, 1, func(w http.ResponseWriter, r *http.Request) {
				a.Hang(w, r)
				left <- true
			})
			args := []string{tt.name, "other"}
			if tt.name == "update" {
				args = args[:1]
			}
			_, err := get.Run(t.Context(), args...)
			require.EqualError(t, err, "apt-get "+tt.name+": nothing came for 1s")
			var failed *Error
			assert.True(t, errors.As(err, &failed))
			select {
			case <-left:
			case <-time.After(time.Minute):
				t.Error("the method goes on")
			}
		})
	}
	a.Heal()
	_, err = get.Run(t.Context(), "download", "other")
	require.NoError(t, err)
}
