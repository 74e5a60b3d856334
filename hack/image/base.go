package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"time"

	oci "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// certificatesFile is where Go and everybody else looks for the certificate authorities on Debian.
const certificatesFile = "etc/ssl/certs/ca-certificates.crt"

// file is a file or, with a name that ends with a slash, a folder of a layer.
type file struct {
	name    string
	mode    int64
	owner   int
	content []byte
}

// baseFiles returns what a program that is linked statically expects of distroless' static base. Time zones are compiled
// into the programs.
func baseFiles() ([]file, error) {
	certificates, err := certificates()
	if err != nil {
		return nil, err
	}
	return []file{
		{name: "etc/", mode: 0o755},
		{name: "etc/group", mode: 0o644, content: fmt.Appendf(nil, "root:x:0:\nnonroot:x:%d:\n", nonroot)},
		{name: "etc/nsswitch.conf", mode: 0o644, content: []byte("hosts: files dns\n")},
		{name: "etc/passwd", mode: 0o644, content: fmt.Appendf(nil,
			"root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:%[1]d:%[1]d:nonroot:/home/nonroot:/sbin/nologin\n", nonroot)},
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: certificatesFile, mode: 0o644, content: certificates},
		{name: "home/", mode: 0o755},
		{name: "home/nonroot/", mode: 0o700, owner: nonroot},
		{name: "tmp/", mode: 0o1777},
	}, nil
}

// certificates returns Mozilla's certificate authorities in PEM. Those that may only sign for some hosts or until some
// day are left out, since PEM can't say so.
func certificates() ([]byte, error) {
	var all bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&all, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
	}
	return all.Bytes(), nil
}

// layerOf returns a layer with the files, all of which have the same time.
func layerOf(files []file, modified time.Time) (oci.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := add(w, f, modified); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(9), tarball.WithCompressedCaching)
}

func add(w *tar.Writer, f file, modified time.Time) error {
	kind := byte(tar.TypeReg)
	if f.name[len(f.name)-1] == '/' {
		kind = tar.TypeDir
	}
	header := &tar.Header{
		Typeflag: kind, Name: f.name, Mode: f.mode, Uid: f.owner, Gid: f.owner,
		Size: int64(len(f.content)), ModTime: modified, Format: tar.FormatPAX,
	}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := w.Write(f.content)
	return err
}
