package faults

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/rollcall-dev/rollcall/internal/testenv"
)

var (
	full = flag.Bool("faults.full", false, "Try every fault as often as make faults does; else each kind of fault a few times.")
	seed = flag.Int64("faults.seed", 0, "Seed of what is done at random; 0: the time.")
	keep = flag.String("faults.keep", "", "Folder for the logs of all processes; empty: none are kept.")
)

var env *testenv.Env

// managerProgram and natsProgram are the programs of a manager and of a NATS server.
const (
	managerProgram = "github.com/rollcall-dev/rollcall"
	natsProgram    = "github.com/nats-io/nats-server/v2"
)

func TestMain(m *testing.M) {
	serveNATS()
	followRegistry()
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	if *seed == 0 {
		*seed = time.Now().UnixNano()
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		killAll()
	}()
	testenv.Main(m, &env)
}

// fault is one row of the table.
type fault struct {
	name string
	// long says that the short run leaves it out: it takes its time, or is one more of a kind.
	long bool
	// alone says that nothing else is tried meanwhile: it breaks what all rows share, or takes the whole machine.
	alone bool
	run   func(*rig)
}

// TestFaults tries all faults and prints what the observer saw.
func TestFaults(t *testing.T) {
	t.Logf("seed %d", *seed)
	binary := build(t, managerProgram)
	report := &report{seed: *seed}
	t.Run("all", func(t *testing.T) {
		for _, f := range slices.Concat(
			faultsOfNATS(), faultsOfACluster(), faultsOfTheBucket(), faultsOfTheAPIServer(), faultsOfAdmission(), faultsOfTheOperator(), faultsOfClocks(),
			faultsOfTheFleet(), faultsOfTheGuard(), faultsOfPods(), faultsOfListening(), faultsOfTheStore(),
			faultsOfRecords(), faultsOfAddresses(), faultsOfServers(), faultsOfViews(),
		) {
			if f.long && !*full {
				continue
			}
			row := report.add(f.name)
			t.Run(f.name, func(t *testing.T) {
				if !f.alone {
					t.Parallel()
				}
				try(t, &f, row, binary)
			})
		}
	})
	fmt.Print(report.table())
	for _, complaint := range report.complaints(*full, allowance()) {
		t.Error(complaint)
	}
}

// try tries one kind of fault.
func try(t *testing.T, f *fault, row *row, binary string) {
	t.Helper()
	began := time.Now()
	t.Cleanup(func() {
		row.end(t.Failed(), time.Since(began))
		t.Log(row.String())
	})
	f.run(&rig{T: t, row: row, binary: binary, rnd: random(f.name)})
}

// random returns a source of the row's own, so that a row on its own does the same again.
func random(name string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return rand.New(rand.NewPCG(uint64(*seed), h.Sum64()))
}

// build builds one of the programs, as its users run it.
func build(t *testing.T, program string, flags ...string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), path.Base(program))
	args := append(append([]string{"build"}, flags...), "-o", binary, program)
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", program, err, out)
	}
	return binary
}

// times returns how often to try something in the short run, and in the full one.
func times(short, long int) int {
	if *full {
		return long
	}
	return short
}
