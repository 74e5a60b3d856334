package main

import (
	"os"
	"path"
	"path/filepath"

	oci "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// nonroot is the user and the group of the same number that distroless calls nonroot.
const nonroot = 65532

// build returns the image: one layer that stands for the base image, and one for each program, so that a program that did
// not change is not pulled again.
func build(o options) (oci.Image, error) {
	base, err := baseFiles()
	if err != nil {
		return nil, err
	}
	contents := [][]file{base}
	for _, program := range o.programs {
		bytes, err := os.ReadFile(program)
		if err != nil {
			return nil, err
		}
		contents = append(contents, []file{{name: filepath.Base(program), mode: 0o755, content: bytes}})
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, files := range contents {
		layer, err := layerOf(files, o.created)
		if err != nil {
			return nil, err
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			return nil, err
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = o.platform.OS, o.platform.Architecture
	config.Created = oci.Time{Time: o.created}
	config.History = nil
	config.Config = oci.Config{
		User:       "65532:65532",
		Entrypoint: []string{path.Join("/", filepath.Base(o.programs[0]))},
		WorkingDir: "/",
		Env:        []string{"PATH=/", "SSL_CERT_FILE=/" + certificatesFile},
		Labels:     labels(o),
	}
	return mutate.ConfigFile(image, config)
}

// labels returns the image's labels, which Dockerfile repeats.
func labels(o options) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       "rollcall",
		"org.opencontainers.image.description": "Mirrors machines registered in a NATS Key-Value bucket into Kubernetes, and pods into the bucket.",
		"org.opencontainers.image.source":      "https://github.com/rollcall-dev/rollcall",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     o.version,
		"org.opencontainers.image.revision":    o.revision,
		"org.opencontainers.image.created":     o.created.Format("2006-01-02T15:04:05Z07:00"),
	}
}
