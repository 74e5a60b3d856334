// Image puts programs into a container image and writes it as a tar, with no daemon, no registry and no base image: what
// the image of Dockerfile has from distroless' static base comes from Go modules here. The tar is an OCI layout that
// `docker load`, `podman load` and `ctr images import` take. The same input gives the same bytes.
//
// Usage: image -o image.tar -ref example.org/rollcall:1.0.0 [-ref …] path/of/manager …
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	oci "github.com/google/go-containerregistry/pkg/v1"
)

// options are what the image is made from.
type options struct {
	output string
	refs   []string
	// programs are the paths of the programs; each is put into the root folder, and the first is the entry point.
	programs []string
	platform oci.Platform
	created  time.Time
	version  string
	revision string
	maxSize  int64
}

func main() {
	o, err := parse(os.Args[1:])
	if err == nil {
		err = run(o)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	o := options{platform: oci.Platform{OS: "linux"}}
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.StringVar(&o.output, "o", "", "File to write the tar to.")
	flags.Func("ref", "Name of the image with its tag; can be given more than once.", func(ref string) error {
		o.refs = append(o.refs, ref)
		return nil
	})
	flags.StringVar(&o.platform.Architecture, "arch", "amd64", "Architecture of the programs, by Go's name of it.")
	flags.Func("created", "Time of the image and of all files in it, in seconds since 1970.", func(s string) error {
		seconds, err := strconv.ParseInt(s, 10, 64)
		o.created = time.Unix(seconds, 0).UTC()
		return err
	})
	flags.StringVar(&o.version, "version", "", "Version, for the image's labels.")
	flags.StringVar(&o.revision, "revision", "", "Commit, for the image's labels.")
	flags.Int64Var(&o.maxSize, "max-bytes", 40<<20, "Compressed size in bytes that the image must not exceed.")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.programs = flags.Args()
	if o.output == "" || len(o.refs) == 0 || len(o.programs) == 0 {
		return o, errors.New("give -o, -ref and at least one program")
	}
	return o, nil
}

func run(o options) error {
	image, err := build(o)
	if err != nil {
		return err
	}
	size, err := compressedSize(image)
	if err != nil {
		return err
	}
	if size > o.maxSize {
		return fmt.Errorf("the image has %d bytes, more than the %d that it may have", size, o.maxSize)
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	if err := write(o.output, image, o.refs); err != nil {
		return err
	}
	fmt.Printf("%s\n  names   %s\n  digest  %s\n  size    %.1f MiB compressed\n",
		o.output, strings.Join(o.refs, ", "), digest, float64(size)/(1<<20))
	return nil
}

// compressedSize returns the bytes that are transferred when the image is pulled.
func compressedSize(image oci.Image) (int64, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return 0, err
	}
	size := manifest.Config.Size
	for _, layer := range manifest.Layers {
		size += layer.Size
	}
	return size, nil
}
