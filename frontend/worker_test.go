package main

import (
	"testing"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// A worker reports what it runs by itself; its own architecture is never foreign.
func TestForeign(t *testing.T) {
	for _, test := range []struct {
		runs   []string
		always bool
		asked  string
		want   standing
	}{
		{[]string{"linux/amd64", "linux/386"}, false, "linux/arm64", foreign},
		{[]string{"linux/amd64", "linux/386"}, false, "linux/arm/v7", foreign},
		{[]string{"linux/amd64"}, false, "linux/amd64/v4", own},
		{[]string{"linux/amd64"}, true, "linux/amd64", own},
		{[]string{"linux/amd64"}, false, "linux/386", own},
		{[]string{"linux/amd64", "linux/arm64"}, false, "linux/arm64", registered},
		{[]string{"linux/amd64", "linux/arm64"}, false, "linux/arm64/v8", registered},
		{[]string{"linux/amd64", "linux/arm64"}, true, "linux/arm64", foreign},
		{[]string{"linux/amd64", "linux/arm/v7"}, false, "linux/arm/v6", registered},
		{[]string{"linux/arm64"}, false, "linux/amd64", foreign},
		{[]string{"linux/arm64"}, false, "linux/arm/v7", foreign},
		{[]string{"linux/arm64", "linux/arm/v7"}, false, "linux/arm/v7", registered},
		{[]string{"linux/amd64"}, false, "windows/arm64", own},
		{nil, false, "linux/" + platforms.DefaultSpec().Architecture, own},
		{nil, false, "linux/s390x", foreign},
	} {
		var runs []ocispecs.Platform
		for _, name := range test.runs {
			runs = append(runs, platforms.MustParse(name))
		}
		asked := platforms.MustParse(test.asked)
		w := workerOf([]client.WorkerInfo{{Platforms: runs}}, test.always)
		if _, got := w.of(&pb.Platform{OS: asked.OS, Architecture: asked.Architecture, Variant: asked.Variant}); got != test.want {
			t.Errorf("to a worker of %v (always: %v) %s is %v, not %v", test.runs, test.always, test.asked, got, test.want)
		}
	}
	if _, got := workerOf(nil, true).of(nil); got != own {
		t.Error("a command without a platform is", got)
	}
}
