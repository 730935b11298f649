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

// The call leaves a mirror that goes silent, whatever apt-get is doing, although apt's own timeout
// is far off. It also ends apt's method, and so its connection.
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
			a.Index() // apt-get update takes only what is new
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
