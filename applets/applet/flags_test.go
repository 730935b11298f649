package applet

import (
	"flag"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseOwn(t *testing.T) {
	for _, test := range []struct{ args, platform, release, rest string }{
		{"", "", "", ""},
		{".", "", "", "."},
		{"--platform linux/arm64 -t x .", "linux/arm64", "", "-t x ."},
		{"-t x --platform=linux/arm64 --summary .", "linux/arm64", "", "-t x ."},
		{"--build-arg release=1 --release 5.4 .", "", "5.4", "--build-arg release=1 ."},
		{"-f - -- --release", "", "", "-f - -- --release"},
		{"--release=5.4 --secret id=x,src=--summary", "", "5.4", "--secret id=x,src=--summary"},
		{"-release 5.4", "", "", "-release 5.4"}, // for the other program
	} {
		f := NewFlags("build")
		platform, release := f.String("platform", "", ""), f.String("release", "", "")
		f.Bool("summary", false, "")
		rest, err := f.ParseOwn(strings.Fields(test.args))
		require.NoError(t, err, test.args)
		assert.Equal(t, test.platform, *platform, test.args)
		assert.Equal(t, test.release, *release, test.args)
		assert.Equal(t, test.rest, strings.Join(rest, " "), test.args)
	}
	f := NewFlags("build")
	f.String("release", "", "")
	_, err := f.ParseOwn([]string{".", "--release"})
	assert.ErrorContains(t, err, "flag needs an argument")
	_, err = f.ParseOwn([]string{"-h"})
	assert.ErrorIs(t, err, flag.ErrHelp)
}
