package faults

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// fewest is how many faults a full run injects at least, and blindness what 99 of 100 blindnesses after a fault of NATS
// must not exceed.
const (
	fewest    = 1000
	blindness = time.Second
)

// row is what came of one kind of fault.
type row struct {
	name  string
	tried int
	verdict
	// blind are the times from the moment at which everything was in order again up to the first change that was made
	// then and seen in a slice. prompt says that they count among those that must be below blindness at p99.
	blind  []time.Duration
	prompt bool
	took   time.Duration
	failed bool
}

func (r *row) end(failed bool, took time.Duration) {
	r.failed, r.took = failed || r.removed+r.missed+r.stale > 0, took
}

// String implements fmt.Stringer.
func (r *row) String() string {
	return fmt.Sprintf("tried %d times in %s: %d falsely removed, %d missed, %d stale, blind for at most %s",
		r.tried, r.took.Round(time.Second), r.removed, r.missed, r.stale, r.longest())
}

// longest returns the longest blindness as text.
func (r *row) longest() string {
	if len(r.blind) == 0 {
		return "–"
	}
	return slices.Max(r.blind).Round(time.Millisecond).String()
}

func (r *row) verdictText() string {
	if r.failed {
		return "FAILED"
	}
	return "held"
}

// report is what came of all faults. It is not safe for concurrent use, but each of its rows may be filled by another
// goroutine.
type report struct {
	seed int64
	rows []*row
}

// add adds a row.
func (r *report) add(name string) *row {
	added := &row{name: name}
	r.rows = append(r.rows, added)
	return added
}

func (r *report) tried() (n int) {
	for _, each := range r.rows {
		n += each.tried
	}
	return n
}

// complete says whether every row was run.
func (r *report) complete() bool {
	return !slices.ContainsFunc(r.rows, func(each *row) bool { return each.took == 0 })
}

// quantile returns the blindness after a fault of NATS that a share of them does not exceed; ok is false if there was none.
func (r *report) quantile(q float64) (d time.Duration, of int) {
	var all []time.Duration
	for _, each := range r.rows {
		if each.prompt {
			all = append(all, each.blind...)
		}
	}
	if len(all) == 0 {
		return 0, 0
	}
	slices.SortFunc(all, cmp.Compare)
	return all[min(len(all)-1, int(q*float64(len(all))))], len(all)
}

// table returns the report as Markdown.
func (r *report) table() string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 1, ' ', 0)
	_, _ = fmt.Fprintln(w, "| fault\t| tried\t| falsely removed\t| missed\t| stale\t| longest blindness\t| verdict\t|")
	_, _ = fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	ran := 0
	for _, each := range r.rows {
		if each.took == 0 {
			continue // It was not asked for.
		}
		ran++
		_, _ = fmt.Fprintf(w, "| %s\t| %d\t| %d\t| %d\t| %d\t| %s\t| %s\t|\n",
			each.name, each.tried, each.removed, each.missed, each.stale, each.longest(), each.verdictText())
	}
	_ = w.Flush()
	median, n := r.quantile(0.5)
	high, _ := r.quantile(0.99)
	fmt.Fprintf(&text, "\n%d faults in %d rows. Blindness after %d restarts and cuts of NATS: median %s, p99 %s. Seed %d.\n",
		r.tried(), ran, n, median.Round(time.Millisecond), high.Round(time.Millisecond), r.seed)
	return text.String()
}

// complaints says what of the report as a whole is not as promised; a run of some rows only may inject few. allowance is what a short run, which shares its machine
// with other tests, may be blind for beyond that.
func (r *report) complaints(all bool, allowance time.Duration) []string {
	var found []string
	if n := r.tried(); all && r.complete() && n < fewest {
		found = append(found, fmt.Sprintf("only %d faults were injected, not %d", n, fewest))
	}
	if high, n := r.quantile(0.99); n > 0 && high > blindness+allowance {
		found = append(found, fmt.Sprintf("the blindness after a fault of NATS is %s at p99, not %s", high, blindness+allowance))
	}
	return found
}
