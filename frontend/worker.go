package main

import (
	"path"
	"slices"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"binproxy/frontend/platform"
)

// A worker is the machine that the commands run on.
type worker struct {
	native ocispecs.Platform   // its own platform
	runs   []ocispecs.Platform // what it reports that it runs
	always bool                // what it runs by an emulator is foreign, too
}

// workerOf finds the worker that BuildKit itself takes as the default of a build. The first
// platform that the worker names is its own.
func workerOf(workers []client.WorkerInfo, always bool) worker {
	if len(workers) == 0 || len(workers[0].Platforms) == 0 {
		return worker{native: platforms.DefaultSpec(), always: always}
	}
	runs := workers[0].Platforms
	return worker{native: platforms.Normalize(runs[0]), runs: runs, always: always}
}

// A standing says how the platform of a command relates to the worker.
type standing int

const (
	own        standing = iota // the worker's own architecture, or one that is never foreign
	registered                 // the worker runs it by an emulator that its kernel has registered
	foreign
)

// of returns the platform and its standing. A command without a platform has the worker's own.
func (w worker) of(p *pb.Platform) (ocispecs.Platform, standing) {
	if p == nil {
		return ocispecs.Platform{}, own
	}
	asked := platforms.Normalize(ocispecs.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant})
	switch {
	case !platform.Foreign(w.native, asked):
		return asked, own
	case w.always:
		return asked, foreign
	}
	// Variants are not distinguished: no emulator here distinguishes them. And a worker that runs
	// arm on arm64 says so: not every arm64 does.
	if slices.ContainsFunc(w.runs, func(p ocispecs.Platform) bool { return p.Architecture == asked.Architecture }) {
		return asked, registered
	}
	return asked, foreign
}

// platform is the worker's platform as an operation has it.
func (w worker) platform() *pb.Platform {
	return &pb.Platform{OS: w.native.OS, Architecture: w.native.Architecture, Variant: w.native.Variant}
}

// bundles is where the image has each guest's bundle, by OCI's name of the architecture.
const bundles = "/bundles"

func bundle(guest ocispecs.Platform) string { return path.Join(bundles, guest.Architecture) }
