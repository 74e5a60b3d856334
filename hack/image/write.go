package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	oci "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// write writes the image as a tar: an OCI layout, with a manifest.json for readers that know only `docker save`.
func write(output string, image oci.Image, refs []string) (err error) {
	folder, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if err := writeLayout(folder, image, refs); err != nil {
		return err
	}
	var packed bytes.Buffer
	if err := pack(&packed, os.DirFS(folder)); err != nil {
		return err
	}
	return os.WriteFile(output, packed.Bytes(), 0o600)
}

func writeLayout(folder string, image oci.Image, refs []string) error {
	var index oci.ImageIndex = empty.Index
	for _, ref := range refs {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: oci.Descriptor{Annotations: map[string]string{
			"org.opencontainers.image.ref.name": ref,
			"io.containerd.image.name":          ref, // What containerd calls the image.
		}}})
	}
	if _, err := layout.Write(folder, index); err != nil {
		return err
	}
	manifest, err := image.Manifest()
	if err != nil {
		return err
	}
	blob := func(h oci.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }
	entry := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{Config: blob(manifest.Config.Digest), RepoTags: refs}
	for _, layer := range manifest.Layers {
		entry.Layers = append(entry.Layers, blob(layer.Digest))
	}
	docker, err := json.Marshal([]any{entry})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "manifest.json"), docker, 0o600)
}

// pack writes the files of a folder, in the order of their names and without their times.
func pack(target io.Writer, folder fs.FS) error {
	w := tar.NewWriter(target)
	err := fs.WalkDir(folder, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(folder, name)
		if err != nil {
			return err
		}
		return add(w, file{name: name, mode: 0o644, content: content}, time.Unix(0, 0))
	})
	if err != nil {
		return err
	}
	return w.Close()
}
