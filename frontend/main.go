// Command frontend is a Dockerfile frontend for BuildKit which builds for platforms that the
// worker cannot run.
//
// BuildKit starts it from its image for a build, and talks gRPC with it over stdin and stdout. It
// is BuildKit's own frontend, with a client in between that sees each definition before the daemon
// does. For a command of a foreign platform the client mounts a bundle of binproxy, which is in
// the frontend's image, and puts binproxy run before the arguments (package rewrite). The daemon
// exports an image whose configuration and history depend only on the Dockerfile.
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

// build is BuildKit's own frontend with a changing client. If a request names the frontend's
// image, as buildctl's does, BuildKit's code would pass the build on to the image in the syntax
// line.
func build(ctx context.Context, c client.Client) (*client.Result, error) {
	opts := c.BuildOpts().Opts
	if _, ok := opts["cmdline"]; !ok && opts != nil {
		opts["cmdline"] = opts["source"]
	}
	return builder.Build(ctx, newChanging(c))
}
