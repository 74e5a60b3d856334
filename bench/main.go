// The benchmark measures what docs/performance.md promises, each figure beside a raw floor that the same run measures on
// the same machine. It needs a control plane with a kube-controller-manager, which make bench builds.
//
// The manager runs as a process of its own, and so do the floors that it is compared with: the benchmark starts itself
// again for each, see child.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

// limit is how long the benchmark may take before it is taken for stuck.
const limit = 20 * time.Minute

// settings are the flags.
type settings struct {
	nodes, runs      int
	scale            bool
	out, only, debug string
}

func main() {
	ctrl.SetLogger(logr.Discard())
	if len(os.Args) > 1 && children[os.Args[1]] != nil {
		exit(runChild(os.Args[1], os.Args[2:]))
	}
	var s settings
	flag.BoolVar(&s.scale, "scale", false, "Measure one manager with as many nodes as a NodeRegistry may have, and nothing else. The targets are for 100,000 nodes.")
	flag.IntVar(&s.nodes, "nodes", 10_000, "Size of the fleet. The targets are for 10,000 nodes.")
	flag.IntVar(&s.runs, "runs", 3, "Runs of what takes long; what takes little has more.")
	flag.StringVar(&s.out, "out", "bench/results.json", "File for the results.")
	flag.StringVar(&s.only, "only", "", "Comma-separated steps to run; empty: all. The fleet is set up by cold.")
	flag.StringVar(&s.debug, "keep", "", "Folder for the logs and the profiles of the managers; empty: none are kept.")
	flag.Parse()
	exit(bench(s))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// bench runs the benchmark. A missed figure is an error, unless $BENCH_ALLOW_MISS is set.
func bench(s settings) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	r := &report{began: time.Now(), load: [2]string{loadAverage()}}
	if err := measure(ctx, s, r); err != nil {
		return errors.Join(err, r.print(os.Stdout))
	}
	r.load[1] = loadAverage()
	if err := errors.Join(r.print(os.Stdout), r.write(s.out)); err != nil {
		return err
	}
	if missed := r.missed(); len(missed) > 0 && os.Getenv("BENCH_ALLOW_MISS") == "" {
		return fmt.Errorf("missed: %s", strings.Join(missed, "; "))
	}
	return nil
}

// step is one part of the benchmark.
type step struct {
	name string
	run  func(context.Context, *rig) ([]*figure, error)
}

// steps are all parts in their order. The first of them that needs a fleet and a manager sets them up: cold.
func steps() []step {
	return []step{
		{"event", eventCost},
		{"crowd", crowds},
		{"cold", coldStart},
		{"heartbeats", heartbeats},
		{"cpu", heartbeatCPU},
		{"latency", latency},
		{"kcm", besideKubernetes},
		{"storm", storms},
		{"flap", flap},
		{"death", death},
		{"restart", restarts},
		{"pods", podHeartbeats},
		{"writer", writerRate},
		{"listing", listing},
	}
}

// scaleSteps is what is measured with a fleet as large as one can be.
func scaleSteps() []step { return []step{{"scale", scale}} }

func measure(ctx context.Context, s settings, r *report) (err error) {
	g, err := newRig(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	r.versions = g.versions()
	all := steps()
	if s.scale {
		all = scaleSteps()
	}
	for _, step := range all {
		if s.only != "" && !strings.Contains(","+s.only+",", ","+step.name+",") {
			continue
		}
		began := time.Now()
		figures, err := step.run(ctx, g)
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, errors.Join(err, g.explain()))
		}
		fmt.Fprintf(os.Stderr, "bench: %s took %s\n", step.name, time.Since(began).Round(time.Second))
		r.figures = append(r.figures, figures...)
	}
	return nil
}
