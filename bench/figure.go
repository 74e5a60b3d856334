package main

import (
	"fmt"
	"slices"
)

// comparison says how the value of a figure comes from what was measured.
type comparison string

const (
	// absolute: the value is ours. The floor is there to see how far it could be lowered.
	absolute comparison = "absolute"
	// difference: the value is ours less the floor.
	difference comparison = "difference"
	// ratio: the value is ours divided by the floor.
	ratio comparison = "ratio"
)

// sample is what one run measured: ours, and the raw floor beside it.
type sample struct{ ours, floor float64 }

func (c comparison) of(s sample) float64 {
	switch c {
	case difference:
		return s.ours - s.floor
	case ratio:
		return s.ours / s.floor
	default:
		return s.ours
	}
}

// target is what a figure must reach.
type target struct {
	least bool
	value float64
}

func atMost(v float64) target  { return target{value: v} }
func atLeast(v float64) target { return target{value: v, least: true} }

func (t target) met(v float64) bool {
	if t.least {
		return v >= t.value
	}
	return v <= t.value
}

func (t target) sign() string {
	if t.least {
		return "≥"
	}
	return "≤"
}

// figure is one line of the table.
type figure struct {
	name string
	// floor says in a few words what the floor is.
	floor   string
	unit    unit
	by      comparison
	target  target
	samples []sample
}

// unit is what ours and the floor are measured in.
type unit struct {
	name   string
	digits int
}

var (
	writes       = unit{"writes", 0}
	milliseconds = unit{"ms", 1}
	microseconds = unit{"µs", 1}
	perSecond    = unit{"/s", 0}
	percentCPU   = unit{"% of a core", 1}
	kibibytes    = unit{"KiB", 2}
	mebibytes    = unit{"MiB", 0}
)

func (u unit) format(v float64) string { return fmt.Sprintf("%.*f %s", u.digits, v, u.name) }

// bare formats a value of the figure.
func (f *figure) bare(v float64) string {
	if f.by == ratio {
		return fmt.Sprintf("× %.2f", v)
	}
	return f.unit.format(v)
}

// spread is the distribution of one number over the runs.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(values []float64) spread {
	return spread{Median: quantile(values, 0.5), Min: slices.Min(values), Max: slices.Max(values)}
}

// quantile returns the q-quantile of the values: the least of them that is not below a share q of all. The median of an
// even number of values is the mean of the two in the middle.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); q == 0.5 && n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// over returns the spread of something of each sample.
func (f *figure) over(of func(sample) float64) spread {
	values := make([]float64, 0, len(f.samples))
	for _, s := range f.samples {
		values = append(values, of(s))
	}
	return spreadOf(values)
}

func (f *figure) ours() spread    { return f.over(func(s sample) float64 { return s.ours }) }
func (f *figure) floors() spread  { return f.over(func(s sample) float64 { return s.floor }) }
func (f *figure) value() spread   { return f.over(f.by.of) }
func (f *figure) met() bool       { return f.target.met(f.value().Median) }
func (f *figure) add(s ...sample) { f.samples = append(f.samples, s...) }
