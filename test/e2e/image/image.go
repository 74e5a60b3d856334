// Package image makes container images of single Go programs, as archives that a container runtime loads.
package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// entry is where the program is in the image.
const entry = "program"

// Build compiles a Go package, of the module in a folder or of one that it requires, and writes an image whose only file is the
// program, and whose entry point it is, to an archive in the format of `docker save`. The program runs as no user that
// the host knows.
func Build(ctx context.Context, archive, name, folder, goPackage string) error {
	program := archive + ".bin"
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, goPackage) //nolint:gosec // The test says what is built.
	build.Dir = folder
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", goPackage, err, out)
	}
	content, err := os.ReadFile(program)
	if err := errors.Join(err, os.Remove(program)); err != nil {
		return err
	}
	layer, err := archiveOf(file{entry, content, 0o755})
	if err != nil {
		return err
	}
	image, err := describe(name, layer)
	if err != nil {
		return err
	}
	return os.WriteFile(archive, image, 0o600)
}

// describe returns the archive of an image with one layer.
func describe(name string, layer []byte) ([]byte, error) {
	digest := sha256.Sum256(layer)
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/" + entry}, "User": "65532:65532"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(digest[:])}},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return nil, err
	}
	return archiveOf(file{"config.json", config, 0o644}, file{"manifest.json", manifest, 0o644}, file{"layer.tar", layer, 0o644})
}

type file struct {
	name    string
	content []byte
	mode    int64
}

func archiveOf(files ...file) ([]byte, error) {
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	for _, f := range files {
		if err := writer.WriteHeader(&tar.Header{Name: filepath.ToSlash(f.name), Mode: f.mode, Size: int64(len(f.content))}); err != nil {
			return nil, err
		}
		if _, err := writer.Write(f.content); err != nil {
			return nil, err
		}
	}
	return archive.Bytes(), writer.Close()
}
