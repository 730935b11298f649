package bootstrap

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"binproxy/emu/arch"
	"binproxy/emu/oci"
)

// isImage reports whether --from names an image instead of a backend.
func isImage(from string) bool {
	return strings.HasPrefix(from, "oci:") || strings.HasPrefix(from, "tar:")
}

// absoluteSource makes the path in From absolute, and refuses a missing one.
func absoluteSource(o *Options) error {
	kind, path, _ := strings.Cut(o.From, ":")
	if kind == "oci" {
		dir, ref := splitRef(path)
		abs, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		if err := readable(filepath.Join(abs, "index.json")); err != nil {
			return fmt.Errorf("--from %s: no OCI image layout: %w", o.From, err)
		}
		o.From = "oci:" + abs
		if ref != "" {
			o.From += ":" + ref
		}
		return nil
	}
	if path == "" {
		return errors.New("--from tar: names no archive; it is tar:FILE")
	}
	abs, err := filepath.Abs(path)
	if err == nil {
		err = readable(abs)
	}
	if err != nil {
		return fmt.Errorf("--from %s: %w", o.From, err)
	}
	o.From = "tar:" + abs
	return nil
}

// readable reports beforehand what would fail after the root has been begun. It skips a pipe,
// which can be opened only once.
func readable(path string) error {
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case fi.IsDir():
		return fmt.Errorf("%s is a directory", path)
	case !fi.Mode().IsRegular():
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return oci.Readable(f)
}

// splitRef splits oci:DIR:REF; DIR may contain colons if a directory of that name exists.
func splitRef(path string) (dir, ref string) {
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		return path, ""
	}
	if i := strings.LastIndexByte(path, ':'); i > 0 {
		return path[:i], path[i+1:]
	}
	return path, ""
}

// unpackImage fills the root from the image that From names.
func unpackImage(o Options, root string, progress io.Writer) error {
	kind, path, _ := strings.Cut(o.From, ":")
	if kind == "oci" {
		dir, ref := splitRef(path)
		layout, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		defer layout.Close()
		layers, err := layersFor(oci.Dir(layout), o.ABI, ref)
		if err != nil {
			return err
		}
		return unpackLayers(root, layers, progress)
	}
	return unpackArchive(path, o.ABI, root, progress)
}

// unpackArchive unpacks a saved image, or a root that docker export or tar has written.
func unpackArchive(path string, abi *arch.ABI, root string, progress io.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	store, err := oci.Open(f, filepath.Dir(root))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer store.Close()
	layers, err := layersFor(store, abi, "")
	if errors.Is(err, oci.ErrNoImage) {
		layers, err = []oci.Layer{store.Whole(filepath.Base(path))}, nil
	}
	if err != nil {
		return err
	}
	return unpackLayers(root, layers, progress)
}

// layersFor finds the layers of the first image for the ABI (with that name, if one is given).
func layersFor(store *oci.Store, abi *arch.ABI, ref string) ([]oci.Layer, error) {
	var seen []string
	wanted := func(name string, p oci.Platform) bool {
		switch {
		case ref != "" && name != ref:
			seen = append(seen, "an image called "+name)
		case p.Architecture != "" && !matches(p, abi):
			seen = append(seen, p.String())
		default:
			return true
		}
		return false
	}
	for image, err := range store.Images(wanted) {
		if err != nil {
			return nil, err
		}
		platform, err := image.Platform()
		if err != nil {
			return nil, err
		}
		if matches(platform, abi) {
			return image.Layers, nil
		}
		seen = append(seen, platform.String())
	}
	has := cmp.Or(strings.Join(seen, ", "), "no image at all")
	return nil, fmt.Errorf("the image has nothing for %s; it has: %s", abi.Name, has)
}

// matches reports whether the platform is one of the ABI's.
func matches(p oci.Platform, abi *arch.ABI) bool {
	if p.OS != "" && p.OS != "linux" {
		return false
	}
	got, err := arch.Parse(strings.TrimSuffix(p.Architecture+"/"+p.Variant, "/"))
	return err == nil && got == abi
}
