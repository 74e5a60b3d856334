package faults

import (
	"fmt"
	"os"
	"strings"
	"time"
)

func faultsOfTheOperator() []fault {
	return []fault{
		{name: "manager killed (kill -9) at a random moment", run: func(r *rig) { killManager(r, times(3, 50)) }},
		{name: "leader stopped, the other replica takes over", long: true, run: func(r *rig) { handOver(r, 5, (*process).stop, startBound) }},
		{name: "leader killed, the other replica takes over", long: true, run: func(r *rig) { handOver(r, 1, (*process).kill, 25*time.Second) }},
		{name: "manager started while NATS is down", run: func(r *rig) { startWithoutNATS(r, times(1, 5)) }},
		{name: "manager started while the API server is down", alone: true, long: true, run: func(r *rig) { startWithoutAPIServer(r, 3) }},
		{name: "20,000 nodes at the memory limit", alone: true, long: true, run: closeToTheLimit},
	}
}

// down opens a window in which no manager runs.
func (r *rig) down() *window {
	return r.broken(window{holds: true, grace: r.ttl, settle: time.Second + allowance()})
}

func killManager(r *rig, n int) {
	r.set(usual())
	stop := r.fleet.churn(busy)
	var w *window
	for i := range n {
		r.row.tried++
		if w == nil {
			w = r.down()
		}
		must(r, r.manager.kill())
		// Some are killed before they have done anything, and some long after. The last one lives.
		if r.fleet.random(3) == 0 && i < n-1 {
			r.begin()
			pass(time.Duration(r.fleet.random(2500)) * time.Millisecond)
			continue
		}
		since := time.Now()
		r.mend(w, r.begin)
		r.started(w, since, startBound)
		w = nil
		pass(time.Duration(r.fleet.random(500)) * time.Millisecond)
	}
	stop()
	r.judge()
}

// handOver ends the replica that leads, again and again.
func handOver(r *rig, n int, end func(*process) error, within time.Duration) {
	s := usual()
	r.prepare()
	r.managerArgs = []string{"--leader-elect", "--leader-election-namespace=" + r.namespace}
	r.set(s)
	stop := r.fleet.churn(busy)
	for range n {
		r.row.tried++
		second := r.spawnManager()
		// It has to wait for its turn, or there would be nothing to hand over.
		pass(2 * time.Second)
		w := r.down()
		ended := time.Now()
		r.mend(w, func() { must(r, end(r.manager)) })
		r.started(w, ended, within)
		r.manager = second
	}
	stop()
	r.judge()
}

func startWithoutNATS(r *rig, n int) {
	r.set(usual())
	r.row.prompt = true
	for range n {
		r.row.tried++
		w := r.outage()
		must(r, r.manager.kill())
		r.nats.kill()
		r.begin()
		pass(r.ttl + 2*time.Second)
		r.mend(w, r.nats.launch)
		r.over(w)
	}
	r.judge()
}

// startWithoutAPIServer starts the manager again whenever it ends, as a kubelet would.
func startWithoutAPIServer(r *rig, n int) {
	r.set(usual())
	for range n {
		r.row.tried++
		w := r.down()
		must(r, r.manager.kill())
		must(r, apiServer(r).Kill())
		r.begin()
		again := func() {
			if !r.manager.alive() {
				r.begin()
			}
		}
		for range 5 {
			pass(time.Second)
			again()
		}
		r.mend(w, func() { must(r, apiServer(r).Start()) })
		answered := r.answers()
		again()
		r.started(w, answered, startBound)
	}
	r.judge()
}

// closeToTheLimit runs a manager with far less memory than it would take, and lets a large fleet come, move and go.
func closeToTheLimit(r *rig) {
	const size = 20_000
	r.env = []string{"GOMEMLIMIT=" + memoryLimit}
	r.set(setting{ttl: time.Hour, registry: room(size)})
	// How fast a large fleet is written is not in question here.
	filling := r.broken(window{})
	r.registerAtOnce(size)
	poll(r.T, 3*patience, "all nodes", func() bool { return r.observer.nodes.count() == size })
	r.mended(filling, time.Now())
	for range 5 {
		r.row.tried++
		w := r.outage()
		r.nats.kill()
		r.mend(w, r.nats.launch)
		r.over(w)
	}
	for range 3 {
		r.row.tried++
		w := r.down()
		// A manager that starts compares every DiscoveredNode with what it should be, once the traffic is right.
		nodes := r.broken(window{settle: startBound, nodesOnly: true})
		must(r, r.manager.kill())
		since := time.Now()
		r.mend(w, r.begin)
		r.started(w, since, 2*startBound)
		r.mended(nodes, time.Now())
	}
	if !r.manager.alive() {
		r.Error("the manager has ended")
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.manager.command.Process.Pid))
	must(r, err)
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	r.Logf("with GOMEMLIMIT=%s the manager took at most %s", memoryLimit, strings.TrimSpace(strings.SplitN(peak, "\n", 2)[0]))
	r.judge()
}

// memoryLimit is GOMEMLIMIT with 20,000 nodes.
const memoryLimit = "200MiB"
