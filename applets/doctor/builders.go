package doctor

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"binproxy/emu/arch"
	"binproxy/emu/builder"
	"binproxy/emu/elfinfo/tiny"
	"binproxy/emu/probe"
)

// patience is how long all plugs of one builder may take together.
const patience = time.Minute

// builders are the plugs that this machine's builders take, each tried by building for one
// platform.
type builders struct {
	Platform string       `json:"platform"`
	Found    []plugsOfOne `json:"found"`
}

type plugsOfOne struct {
	Name  string         `json:"name"`
	Path  string         `json:"path"`
	Plugs []probe.Result `json:"plugs"`
}

// tryBuilders tries them. Local builders get a storage of their own, which is removed together
// with the bundle for their plugs.
func tryBuilders(ctx context.Context, guests []*arch.ABI) (*builders, error) {
	abi := builtFor(guests)
	dir, err := os.MkdirTemp("", "binproxy-doctor-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	own, err := bundleIn(dir, abi)
	if err != nil {
		return nil, err
	}
	storage := filepath.Join(dir, "storage.conf")
	text := fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", dir+"/graph", dir+"/run")
	if err := os.WriteFile(storage, []byte(text), 0o600); err != nil {
		return nil, err
	}
	b := &builders{Platform: abi.Platform(), Found: []plugsOfOne{}}
	for _, found := range builder.Find(ctx, os.Getenv, builder.Names[:]...) {
		// an ordinary user's podman obeys only the second
		found.Env = []string{"CONTAINERS_STORAGE_CONF=" + storage, "XDG_DATA_HOME=" + dir}
		b.Found = append(b.Found, plugsOfOne{found.Name, found.Path, plugsOf(ctx, found, abi, own)})
	}
	return b, nil
}

// builtFor is the first guest that images exist for; without one, a common platform that is not
// the host's.
func builtFor(guests []*arch.ABI) *arch.ABI {
	common := []*arch.ABI{arch.Get("aarch64"), arch.Get("x86_64")}
	for _, abi := range slices.Concat(guests, common) {
		if strings.HasPrefix(abi.Platform(), "linux/") && tiny.Program(abi) != nil && !abi.Native(arch.Host()) {
			return abi
		}
	}
	return common[0]
}

func bundleIn(dir string, abi *arch.ABI) (builder.Own, error) {
	self, err := os.Executable()
	if err != nil {
		return builder.Own{}, err
	}
	own, err := builder.NewOwn(builder.Request{Foreign: []*arch.ABI{abi}}, self, nil)
	own.Dir = filepath.Join(dir, "bundle")
	return own, err
}

// plugsOf tries each plug that the builder could take: of a daemon, only what was set up there.
func plugsOf(ctx context.Context, b builder.Builder, abi *arch.ABI, own builder.Own) []probe.Result {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	plugs := []builder.Plug{builder.Itself}
	if b.Remote == "" {
		plugs = append(plugs, builder.Runtime, builder.Run)
	}
	var results []probe.Result
	for _, plug := range plugs {
		r := probe.Result{Name: string(plug), Answer: probe.No}
		ok, why := false, ""
		if plug != builder.Itself {
			if err := own.Make(ctx); err != nil {
				why = err.Error()
			}
		}
		if why == "" {
			ok, why = b.Takes(ctx, plug, abi, own)
		}
		switch {
		case ok:
			r.Answer = probe.Yes
		case ctx.Err() != nil:
			r.Answer, r.Reason = probe.Unknown, why
		default:
			r.Reason = why
		}
		if !ok && b.Remote != "" && b.Refused == "" {
			r.Change = "a plug at " + b.Remote + ", see docs/builders.md"
		}
		results = append(results, r)
	}
	return results
}

func (b *builders) print(w io.Writer) {
	fmt.Fprintf(w, "\nbuilders, for %s\n", b.Platform)
	for _, found := range b.Found {
		for _, r := range found.Plugs {
			r.Name = found.Name + " " + r.Name
			line(w, r)
		}
	}
	if len(b.Found) == 0 {
		fmt.Fprintf(w, "  none in PATH (%s)\n", strings.Join(builder.Names[:], ", "))
	}
}
