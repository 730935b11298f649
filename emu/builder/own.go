package builder

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"binproxy/emu/arch"
	"binproxy/emu/bundle"
	"binproxy/emu/config"
	"binproxy/emu/emulator"
	"binproxy/emu/identity"
	"binproxy/emu/sys"
	"binproxy/emu/twin/pack"
	"binproxy/third_party/hash/sha256"
)

// RuntimeLink is the name by which binproxy is an OCI runtime.
const RuntimeLink = "binproxy-runtime"

// keep is how long the cache keeps a bundle without use.
const keep = 30 * 24 * time.Hour

// Own is the bundle for a plug, in the user's cache. Its name follows from everything that it is
// made of, so it is made once for each release, set of twins, binproxy and emulator.
type Own struct {
	Dir     string
	options bundle.Options
	missing error // what is missing to make it, for users who need the bundle
}

// Binproxy is the program in the bundle.
func (o Own) Binproxy() string { return filepath.Join(o.Dir, config.Binary) }

// Runtime is the OCI runtime in the bundle.
func (o Own) Runtime() string { return filepath.Join(o.Dir, RuntimeLink) }

// NewOwn names the bundle for a request. self is the program's own file; extra are the preload
// libraries.
func NewOwn(r Request, self string, extra []bundle.Extra) (Own, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Own{}, fmt.Errorf("where to keep the bundle: %w; set HOME or XDG_CACHE_HOME", err)
	}
	var o Own
	o.options = bundle.Options{
		ABIs: r.Foreign, Identity: identity.Identity{Release: r.Options.Release}, Self: self,
		Extra: append(extra, bundle.Extra{Name: RuntimeLink, Link: config.Binary}),
	}
	if err := o.options.Identity.Check(); err != nil {
		return Own{}, err
	}
	switch twins := r.Options.Twins; twins {
	case "", "off":
	case "auto":
		o.options.Twins = &pack.Options{ABIs: r.Foreign}
	default:
		o.options.TwinsFrom = twins
	}
	key, err := o.key()
	o.Dir, o.missing = filepath.Join(cache, "binproxy", "bundles", key), err
	return o, nil
}

// key sums up what the bundle is made from: files by path, size and time, the rest by value.
func (o *Own) key() (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%q\n", o.options.Identity.Release)
	files := []string{o.options.Self}
	o.options.Emulators = map[string]string{}
	for _, abi := range o.options.ABIs {
		path, err := emulator.Find(abi, emulator.Dirs(filepath.Dir(o.options.Self)))
		if err != nil {
			return "", err
		}
		o.options.Emulators[abi.QEMU] = path
		files = append(files, path)
		fmt.Fprintln(sum, abi.Name)
	}
	if o.options.TwinsFrom != "" {
		files = append(files, o.options.TwinsFrom)
	}
	for _, file := range files {
		fi, err := os.Stat(file)
		if err != nil {
			return "", err
		}
		note(sum, file, fi)
	}
	if o.options.Twins != nil {
		fmt.Fprintln(sum, "twins of the host")
		// dpkg changes it with newer programs, and so newer twins; not every distribution has it
		const status = "/var/lib/dpkg/status"
		if fi, err := os.Stat(status); err == nil {
			note(sum, status, fi)
		}
	}
	return fmt.Sprintf("%x", sum.Sum(nil)[:6]), nil
}

func note(sum io.Writer, file string, fi os.FileInfo) {
	fmt.Fprintf(sum, "%q %d %d\n", file, fi.Size(), fi.ModTime().UnixNano())
}

// Make makes the bundle, unless it exists, and removes those that nothing has used for long.
func (o Own) Make(ctx context.Context) error {
	if o.missing != nil {
		return o.missing
	}
	if err := os.MkdirAll(filepath.Dir(o.Dir), 0o755); err != nil {
		return err
	}
	lock, err := sys.LockFile(ctx, filepath.Join(filepath.Dir(o.Dir), "lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	now := time.Now()
	if os.Chtimes(o.Dir, now, now) == nil {
		return nil
	}
	o.removeOld(now)
	if _, err := bundle.Make(o.Dir, o.options); err != nil {
		return fmt.Errorf("making the bundle %s: %w", o.Dir, err)
	}
	return os.Chtimes(o.Dir, now, now)
}

func (o Own) removeOld(now time.Time) {
	entries, _ := os.ReadDir(filepath.Dir(o.Dir))
	for _, e := range entries {
		if fi, err := e.Info(); err == nil && e.IsDir() && now.Sub(fi.ModTime()) > keep {
			os.RemoveAll(filepath.Join(filepath.Dir(o.Dir), e.Name()))
		}
	}
}

// platforms of ABIs, for messages.
func platforms(abis []*arch.ABI) string {
	var list []string
	for _, a := range abis {
		list = append(list, a.Platform())
	}
	return strings.Join(list, ", ")
}
