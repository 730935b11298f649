// Command frontend is a Dockerfile frontend for BuildKit which builds for platforms that the
// worker cannot run.
//
// BuildKit starts it from its image for a build, and talks gRPC with it over stdin and stdout. It
// is BuildKit's own frontend, with a client in between that sees each definition before the daemon
// does: a command of a foreign platform gets a bundle of binproxy mounted, which is in the
// frontend's image, and binproxy run before its arguments (package rewrite). What the daemon
// exports, the image's configuration and history, comes from the Dockerfile alone.
package main

import (
	"context"
	"os"

	"github.com/moby/buildkit/frontend/dockerfile/builder"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/frontend/gateway/grpcclient"
	"github.com/moby/buildkit/util/appcontext"
	"github.com/moby/buildkit/util/bklog"
	_ "github.com/moby/buildkit/util/grpcutil/encoding/proto" // the codec that daemons expect
)

func main() {
	if err := grpcclient.RunFromEnvironment(appcontext.Context(), build); err != nil {
		bklog.L.Errorf("binproxy: %v", err)
		os.Exit(1)
	}
}

// build is what BuildKit's own frontend does, with a changing client. Asked for by name, as
// buildctl does, that one would hand the build on to what the Dockerfile's syntax line names.
func build(ctx context.Context, c client.Client) (*client.Result, error) {
	opts := c.BuildOpts().Opts
	if _, ok := opts["cmdline"]; !ok && opts != nil {
		opts["cmdline"] = opts["source"]
	}
	return builder.Build(ctx, newChanging(c))
}
