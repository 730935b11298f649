package dockerfile

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/util/contentutil"
	"github.com/moby/buildkit/util/testutil/integration"
)

// This file joins BuildKit's own test package, unchanged. The cases then run with one frontend,
// which gives every solve the platform of CASES_PLATFORM unless the case names platforms itself:
// the image of CASES_FRONTEND, or the daemon's own frontend if that is empty. The init runs after
// dockerfile_test.go's, since Go goes by the files' names, and a later option replaces an earlier.
func init() {
	f := foreign{frontend: &builtinFrontend{}, platform: os.Getenv("CASES_PLATFORM")}
	if image := os.Getenv("CASES_FRONTEND"); image != "" {
		f.frontend = &gatewayFrontend{gw: image}
	}
	opts = append(opts, integration.WithMatrix("frontend", map[string]any{"foreign": f}))
}

type foreign struct {
	frontend
	platform string
}

func (f foreign) Solve(ctx context.Context, c *client.Client, opt client.SolveOpt, status chan *client.SolveStatus) (*client.SolveResponse, error) {
	opt.FrontendAttrs = f.with(opt.FrontendAttrs)
	return f.frontend.Solve(ctx, c, opt, status)
}

func (f foreign) SolveGateway(ctx context.Context, c gateway.Client, req gateway.SolveRequest) (*gateway.Result, error) {
	req.FrontendOpt = f.with(req.FrontendOpt)
	return f.frontend.SolveGateway(ctx, c, req)
}

func (f foreign) DFCmdArgs(dir, dockerfile string) (string, string) {
	args, trace := f.frontend.DFCmdArgs(dir, dockerfile)
	return args + " --opt=platform=" + f.platform, trace
}

// with is a copy of a solve's options, with the platform: cases use a map for several solves.
func (f foreign) with(options map[string]string) map[string]string {
	options = maps.Clone(options)
	if options == nil {
		options = map[string]string{}
	}
	if options["platform"] == "" {
		options["platform"] = f.platform
	}
	return options
}

// TestMain puts the images of the cases (CASES_IMAGES, REGISTRY/NAME ...) into the mirror, for all
// their platforms. BuildKit leaves an image that is there alone; otherwise it would copy this
// machine's platform from Docker's own registry.
func TestMain(m *testing.M) {
	if err := mirror(context.Background(), strings.Fields(os.Getenv("CASES_IMAGES"))); err != nil {
		fmt.Fprintln(os.Stderr, "the images of the cases:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func mirror(ctx context.Context, images []string) error {
	to, err := integration.RunMirror()
	if err != nil {
		return err
	}
	defer to.Close()
	for _, image := range images {
		_, name, _ := strings.Cut(image, "/")
		described, from, err := contentutil.ProviderFromRef(ctx, image)
		if err != nil {
			return err
		}
		ingester, err := contentutil.IngesterFromRef(ctx, to.Host+"/"+name)
		if err != nil {
			return err
		}
		if err := contentutil.CopyChain(ctx, ingester, from, described); err != nil {
			return fmt.Errorf("%s: %w", image, err)
		}
	}
	return nil
}
