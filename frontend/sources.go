package main

import (
	"context"
	"fmt"
	"os"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/proto"
)

// metadata is where BuildKit tells a frontend the definition of its own root file system. An older
// BuildKit does not do so.
const metadata = "/run/config/buildkit/metadata/frontend.bin"

// itself is the definition of this frontend's image. The builder already has that image, whether
// it came from a registry, the engine's store or a named context.
func itself(ctx context.Context, c client.Client, native ocispecs.Platform) (*pb.Definition, error) {
	text, err := os.ReadFile(metadata)
	if err == nil {
		def := &pb.Definition{}
		return def, proto.Unmarshal(text, def)
	}
	source := c.BuildOpts().Opts["source"]
	if source == "" {
		return nil, fmt.Errorf("BuildKit tells the frontend neither its definition (%w) nor its image", err)
	}
	return image(ctx, c, source, native)
}

// image is the definition of an image with this digest.
func image(ctx context.Context, c client.Client, name string, native ocispecs.Platform) (*pb.Definition, error) {
	parsed, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, err
	}
	parsed = reference.TagNameOnly(parsed)
	_, hash, _, err := c.ResolveImageConfig(ctx, parsed.String(), sourceresolver.Opt{
		ImageOpt: &sourceresolver.ResolveImageOpt{Platform: &native},
	})
	if err != nil {
		return nil, err
	}
	if hash != "" {
		if parsed, err = reference.WithDigest(parsed, hash); err != nil {
			return nil, err
		}
	}
	return marshal(ctx, llb.Image(parsed.String(), llb.Platform(native)))
}

// named is the definition of a named context of the build or, if there is none, of an image.
func named(ctx context.Context, c client.Client, name string, native ocispecs.Platform) (*pb.Definition, error) {
	ui, err := dockerui.NewClient(c)
	if err != nil {
		return nil, err
	}
	found, err := ui.NamedContext(name, dockerui.ContextOpt{Platform: &native})
	if err != nil {
		return nil, err
	}
	if found == nil {
		return image(ctx, c, name, native)
	}
	state, _, err := found.Load(ctx)
	if err != nil {
		return nil, err
	}
	if state == nil {
		return nil, fmt.Errorf("the context %s is empty", name)
	}
	return marshal(ctx, *state)
}

func marshal(ctx context.Context, state llb.State) (*pb.Definition, error) {
	def, err := state.Marshal(ctx)
	if err != nil {
		return nil, err
	}
	return def.ToPB(), nil
}
