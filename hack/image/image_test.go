package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	oci "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const (
	ref   = "registry.example.com/rollcall:0.1.0"
	other = "registry.example.com/rollcall:v0.1.0"
)

// TestTheTarIsAnOCILayout: the tar unpacks to a valid OCI layout with one entry for each name, by which containerd knows it.
func TestTheTarIsAnOCILayout(t *testing.T) {
	folder := t.TempDir()
	unpack(t, packed(t), folder)
	path, err := layout.FromPath(folder)
	if err != nil {
		t.Fatal(err)
	}
	index, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range manifest.Manifests {
		names = append(names, m.Annotations["io.containerd.image.name"])
	}
	if want := []string{ref, other}; !slices.Equal(names, want) {
		t.Errorf("names %q, want %q", names, want)
	}
}

// TestDockerLoads: a reader of what `docker save` writes finds the same image under both names.
func TestDockerLoads(t *testing.T) {
	output := packed(t)
	manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(output) })
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest) != 1 || !slices.Equal(manifest[0].RepoTags, []string{ref, other}) {
		t.Errorf("got %v", manifest)
	}
}

// TestWhatIsInside: the programs, what they need, and nothing that could run a shell; nothing belongs to the one user but
// its home.
func TestWhatIsInside(t *testing.T) {
	image := built(t)
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || !slices.Equal(config.Config.Entrypoint, []string{"/manager"}) {
		t.Errorf("user %s, entry point %s", config.Config.User, config.Config.Entrypoint)
	}
	for _, label := range []string{"title", "description", "source", "licenses", "version", "revision", "created"} {
		if config.Config.Labels["org.opencontainers.image."+label] == "" {
			t.Errorf("no label %s", label)
		}
	}
	var runnable []string
	var certificates []byte
	for _, f := range files(t, image) {
		if f.mode&0o111 != 0 && !strings.HasSuffix(f.name, "/") {
			runnable = append(runnable, f.name)
		}
		if f.owner != 0 && f.name != "home/nonroot/" {
			t.Errorf("%s belongs to %d", f.name, f.owner)
		}
		if f.name == certificatesFile {
			certificates = f.content
		}
	}
	if want := []string{"manager", "rollcall-agent"}; !slices.Equal(runnable, want) {
		t.Errorf("these can be run: %q, want %q", runnable, want)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(certificates) {
		t.Error("no certificate authorities")
	}
}

// TestSameInputSameBytes: two runs write the same tar.
func TestSameInputSameBytes(t *testing.T) {
	one, two := read(t, packed(t)), read(t, packed(t))
	if sha256.Sum256(one) != sha256.Sum256(two) {
		t.Error("two runs differ")
	}
}

func TestTooLargeIsRefused(t *testing.T) {
	o := input(t)
	o.maxSize = 1000
	if err := run(o); err == nil || !strings.Contains(err.Error(), "more than the 1000") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(o.output); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file: %v", err)
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{}, {"-o", "x", "-ref", "y"}, {"-o", "x", "z"}, {"-ref", "y", "z"}, {"-created", "today"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

// input returns options for an image of two programs.
func input(t *testing.T) options {
	t.Helper()
	folder := t.TempDir()
	args := []string{"-o", filepath.Join(folder, "image.tar"), "-ref", ref, "-ref", other, "-created", "1700000000", "-version", "v0.1.0", "-revision", "abc"}
	for _, name := range []string{"manager", "rollcall-agent"} {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte("program "+name), 0o700); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	o, err := parse(args)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func built(t *testing.T) oci.Image {
	t.Helper()
	image, err := build(input(t))
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// packed writes an image and returns the path of the tar.
func packed(t *testing.T) string {
	t.Helper()
	o := input(t)
	if err := run(o); err != nil {
		t.Fatal(err)
	}
	return o.output
}

// files returns everything in the layers of an image.
func files(t *testing.T, image oci.Image) []file {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var all []file
	for _, layer := range layers {
		content, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entries(t, content)...)
	}
	return all
}

func entries(t *testing.T, r io.Reader) []file {
	t.Helper()
	var all []file
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, file{name: header.Name, mode: header.Mode, owner: header.Uid, content: content})
	}
}

func unpack(t *testing.T, path, folder string) {
	t.Helper()
	for _, f := range entries(t, bytes.NewReader(read(t, path))) {
		target := filepath.Join(folder, filepath.FromSlash(f.name))
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, f.content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
