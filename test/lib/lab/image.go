package lab

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"strings"
	"time"

	"binproxy/emu/arch"
)

// ImagePath is the PATH in the configuration of Debian's own images.
const ImagePath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// WriteImage writes an image of one layer, the tar archive root, in the form that `docker load`
// and `buildah pull docker-archive:` read. Unlike `docker import`, it gives the image a platform,
// as images from a registry have.
func WriteImage(w io.Writer, root string, abi *arch.ABI, ref string) error {
	layer, err := os.Open(root)
	if err != nil {
		return err
	}
	defer layer.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, layer)
	if err != nil {
		return err
	}
	if _, err := layer.Seek(0, io.SeekStart); err != nil {
		return err
	}
	config, err := json.Marshal(imageConfig(abi, "sha256:"+hex.EncodeToString(sum.Sum(nil))))
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{ref}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	archive := tar.NewWriter(w)
	for _, file := range []struct {
		name string
		size int64
		r    io.Reader
	}{
		{"config.json", int64(len(config)), bytes.NewReader(config)},
		{"layer.tar", size, layer},
		{"manifest.json", int64(len(manifest)), bytes.NewReader(manifest)},
	} {
		if err := archive.WriteHeader(&tar.Header{Name: file.name, Size: file.size, Mode: 0o644}); err != nil {
			return err
		}
		if _, err := io.Copy(archive, file.r); err != nil {
			return err
		}
	}
	return archive.Close()
}

func imageConfig(abi *arch.ABI, layer string) map[string]any {
	platform := append(strings.Split(abi.Platform(), "/"), "")
	config := map[string]any{
		"created":      time.Unix(0, 0).UTC(),
		"os":           platform[0],
		"architecture": platform[1],
		"config":       map[string]any{"Env": []string{ImagePath}, "Cmd": []string{"bash"}},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{layer}},
		"history":      []map[string]any{{"created": time.Unix(0, 0).UTC(), "created_by": "mmdebstrap"}},
	}
	if variant := platform[2]; variant != "" {
		config["variant"] = variant
	}
	return config
}
