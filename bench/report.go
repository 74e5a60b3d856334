package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// report is everything that one run of the benchmark has to say.
type report struct {
	began    time.Time
	load     [2]string // of the machine, before and after
	versions map[string]string
	figures  []*figure
}

func (r *report) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "FIGURE\tOURS\tFLOOR\tVALUE\tTARGET\tRUNS\tSPREAD\t")
	for _, f := range r.figures {
		value := f.value()
		verdict := "ok"
		if !f.met() {
			verdict = "MISSED"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s %s\t%d\t%s – %s\t%s\n", f.name,
			f.unit.format(f.ours().Median), f.beside(), f.bare(value.Median),
			f.target.sign(), f.bare(f.target.value), len(f.samples), f.bare(value.Min), f.bare(value.Max), verdict)
	}
	return t.Flush()
}

// beside formats the floor; a figure that is looked at for itself may have none.
func (f *figure) beside() string {
	if floor := f.floors().Median; floor > 0 || f.by != absolute {
		return f.unit.format(floor)
	}
	return "–"
}

// missed returns the names of the figures that miss their targets.
func (r *report) missed() []string {
	var names []string
	for _, f := range r.figures {
		if !f.met() {
			names = append(names, f.name)
		}
	}
	return names
}

// result is a figure as it is written to the file.
type result struct {
	Name       string     `json:"name"`
	Unit       string     `json:"unit"`
	Ours       spread     `json:"ours"`
	Floor      spread     `json:"floor"`
	FloorIs    string     `json:"floorIs"`
	Comparison comparison `json:"comparison"`
	Value      spread     `json:"value"`
	Target     string     `json:"target"`
	Met        bool       `json:"met"`
	Runs       int        `json:"runs"`
}

// write writes the report as JSON.
func (r *report) write(path string) error {
	results := make([]result, 0, len(r.figures))
	for _, f := range r.figures {
		results = append(results, result{
			Name: f.name, Unit: f.unit.name, Ours: f.ours(), Floor: f.floors(), FloorIs: f.floor, Comparison: f.by,
			Value: f.value(), Target: f.target.sign() + " " + f.bare(f.target.value), Met: f.met(), Runs: len(f.samples),
		})
	}
	out, err := json.MarshalIndent(map[string]any{
		"began": r.began.UTC().Format(time.RFC3339), "seconds": int(time.Since(r.began).Seconds()),
		"machine": map[string]any{
			"os": runtime.GOOS, "arch": runtime.GOARCH, "cores": runtime.NumCPU(),
			"loadBefore": r.load[0], "loadAfter": r.load[1],
		},
		"versions": r.versions,
		"figures":  results,
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(out, '\n'), 0o600)
}

// loadAverage returns the load averages of the last minutes; empty where the machine does not say.
func loadAverage() string {
	all, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(all))
	return strings.Join(fields[:min(3, len(fields))], " ")
}
