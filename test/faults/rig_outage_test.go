package faults

import (
	"fmt"
	"time"
)

// broken opens a window: from now on something is broken.
func (r *rig) broken(w window) *window {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.from = time.Now()
	r.windows = append(r.windows, &w)
	return &w
}

// mend does what ends a window, which may show before it returns. There may be no window.
func (r *rig) mend(w *window, do func()) {
	r.Helper()
	r.mu.Lock()
	if w != nil && w.back.IsZero() {
		w.back = time.Now()
	}
	r.mu.Unlock()
	do()
}

// mended closes a window, if there is one.
func (r *rig) mended(w *window, at time.Time) {
	r.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if w == nil {
		return
	}
	if w.holds && !w.might && w.back.IsZero() {
		r.Fatal("a window that holds ends by mend, or what it lets go would be judged as held")
	}
	w.to = at
}

// outageSettle is how long an outage of NATS may go on to blind the manager after the server answers again. That it is much
// less nearly always is judged over all outages, see blindness.
const outageSettle = time.Second

// outage opens a window in which the bucket can't be read.
func (r *rig) outage() *window {
	return r.broken(window{holds: true, grace: r.ttl, settle: outageSettle + allowance()})
}

// over ends an outage, if there was one: it waits until the server acknowledges a write again, which ends the window, and
// measures how long it then takes until that write shows in a slice.
func (r *rig) over(w *window) time.Duration {
	r.Helper()
	id, address := r.probe()
	began := time.Now()
	_, err := r.fleet.put(r.Context(), id, address)
	must(r, err)
	answered := time.Now()
	r.fleet.adopt(id, address, began, answered, 0)
	r.mended(w, answered)
	poll(r.T, patience, "a change after the outage to show", func() bool { return r.observer.endpoints.shows(r.fleet.named.of(id, address)) })
	blind := time.Since(answered)
	r.row.blind = append(r.row.blind, blind)
	must(r, r.fleet.unregister(id))
	return blind
}

// probe returns the ID and address of a node that only shows that changes are seen.
func (r *rig) probe() (id, address string) {
	r.probes++
	return fmt.Sprintf("%s%d", probePrefix, r.probes), fmt.Sprintf("10.200.%d.%d", r.probes>>8, r.probes&255)
}

// started waits until the manager that was just started shows a change, which ends the window. That has to be soon.
func (r *rig) started(w *window, since time.Time, within time.Duration) {
	r.Helper()
	id, address := r.probe()
	must(r, r.fleet.register(id, address))
	shown := wait(patience, func() bool { return r.observer.endpoints.shows(r.fleet.named.of(id, address)) })
	r.mended(w, time.Now())
	took := time.Since(since)
	if r.row.blind = append(r.row.blind, took); !shown || took > within+allowance() {
		r.Errorf("it took %s until a manager that was started showed a change", took)
	}
	must(r, r.fleet.unregister(id))
}
