package faults

import (
	"net/http"
	"sync/atomic"
	"time"
)

func faultsOfListening() []fault {
	return []fault{
		{name: "a gap every two thirds of the TTL, one node dies", run: func(r *rig) { recurringGaps(r, times(1, 8), time.Duration(times(4, 12))*time.Second) }},
		{name: "manager frozen (SIGSTOP) for longer than the TTL", run: func(r *rig) { freezeManager(r, times(1, 5)) }},
		{name: "manager throttled (SIGSTOP and SIGCONT)", long: true, run: throttleManager},
		{name: "library frozen (SIGSTOP) for longer than the TTL", run: func(r *rig) { freezeLibrary(r, times(1, 5)) }},
		{name: "library throttled (SIGSTOP and SIGCONT)", long: true, run: throttleLibrary},
		{name: "leader frozen (SIGSTOP) beyond its Lease", run: func(r *rig) { freezeLeader(r, times(1, 3)) }},
	}
}

// recurringGaps cuts the manager off from NATS again and again. A node that dies meanwhile has to go all the same: what the
// manager has listened to adds up.
func recurringGaps(r *rig, n int, ttl time.Duration) {
	s := usual()
	s.ttl = ttl
	r.set(s)
	for range n {
		ids := r.fleet.ids()
		id := ids[r.fleet.random(len(ids))]
		dead := entity(id, r.fleet.addressOf(id))
		r.fleet.die(id)
		// Twice as long as the judge allows, who then has something to condemn.
		for deadline := time.Now().Add(6 * ttl); r.observer.endpoints.shows(dead) && time.Now().Before(deadline); {
			r.row.tried++
			began := time.Now()
			w := r.broken(window{holds: true, might: true, listening: true, grace: ttl})
			r.proxy.Cut()
			pass(time.Duration(100+r.fleet.random(200)) * time.Millisecond)
			r.mend(w, r.proxy.Heal)
			r.over(w)
			// It listens at the latest since what was written then shows.
			r.mended(w, time.Now())
			wait(time.Until(began.Add(2*ttl/3)), func() bool { return !r.observer.endpoints.shows(dead) })
		}
		r.fleet.join(1)
	}
	r.judge()
}

// freezing is for how long something is frozen whose peers have a TTL.
func freezing(ttl time.Duration) time.Duration { return ttl + 2*time.Second }

func freezeManager(r *rig, n int) {
	r.set(usual())
	r.row.prompt = true
	stop := r.fleet.churn(busy)
	for range n {
		r.row.tried++
		w := r.outage()
		must(r, r.manager.pause())
		pass(freezing(r.ttl))
		r.mend(w, func() { must(r, r.manager.resume()) })
		r.over(w)
		// What left while it was frozen is just missing: the disruption guard looks back for one TTL.
		pass(2 * r.ttl)
	}
	stop()
	r.judge()
}

// duty is how long something is stopped and may then run, again and again.
type duty struct{ stopped, runs time.Duration }

// duties are those of a container that gets a fifth, a tenth and an eleventh of what it needs.
var duties = []duty{
	{200 * time.Millisecond, 50 * time.Millisecond}, {900 * time.Millisecond, 100 * time.Millisecond}, {2 * time.Second, 200 * time.Millisecond},
}

// throttle lets a process run a part of the time only, for so long.
func (r *rig) throttle(p *process, d duty, total time.Duration) {
	r.Helper()
	for end := time.Now().Add(total); time.Now().Before(end); {
		r.row.tried++
		must(r, p.pause())
		pass(d.stopped)
		must(r, p.resume())
		pass(d.runs)
	}
}

// throttled opens a window in which the manager, or whoever follows the bucket, gets on slowly.
func (r *rig) throttled() *window {
	return r.broken(window{holds: true, might: true, grace: r.ttl, settle: 2*outageSettle + allowance()})
}

func throttleManager(r *rig) {
	r.set(usual())
	stop := r.fleet.churn(busy)
	for i, d := range duties {
		if i != 1 && !*full {
			continue
		}
		w := r.throttled()
		r.throttle(r.manager, d, time.Duration(times(2, 4))*r.ttl)
		r.over(w)
		pass(2 * r.ttl)
	}
	stop()
	r.judge()
}

// setLibrary sets up a rig in which no manager but a program that uses the library follows the bucket.
func (r *rig) setLibrary() (*process, *view) {
	r.Helper()
	s := usual()
	s.idle = true
	r.set(s)
	program, v := r.spawnFollower(r.nats.url())
	r.observer = &observer{endpoints: v}
	starting := r.broken(window{})
	r.fleet.join(s.nodes)
	poll(r.T, patience, "the library to have all nodes", func() bool { return r.shown(v) })
	r.mended(starting, time.Now())
	return program, v
}

// judgeLibrary judges what the library has shown.
func (r *rig) judgeLibrary(v *view) {
	r.Helper()
	if !wait(patience, func() bool { return r.shown(v) }) {
		r.Errorf("after %s the library does not show everything as it is: %s", patience, differences(r.fleet.alive(), v.present(), "node"))
	}
	endpoints, _ := limits()
	r.verdictOn("node of the library", v, r.concerning(false), endpoints)
}

func freezeLibrary(r *rig, n int) {
	program, v := r.setLibrary()
	stop := r.fleet.churn(busy)
	for range n {
		r.row.tried++
		w := r.outage()
		must(r, program.pause())
		pass(freezing(r.ttl))
		r.mend(w, func() { must(r, program.resume()) })
		r.over(w)
		pass(r.ttl)
	}
	stop()
	r.judgeLibrary(v)
}

func throttleLibrary(r *rig) {
	program, v := r.setLibrary()
	stop := r.fleet.churn(busy)
	for _, d := range duties {
		w := r.throttled()
		r.throttle(program, d, 4*r.ttl)
		r.over(w)
		pass(r.ttl)
	}
	stop()
	r.judgeLibrary(v)
}

// leaseHolds is for how long a Lease holds that is not renewed.
const leaseHolds = 15 * time.Second

// freezeLeader stops the leader until the other replica leads, and lets it go on. It has to end, and must not write: what it
// knows is old. Every replica reaches the API server through a proxy of its own, which counts.
func freezeLeader(r *rig, n int) {
	r.prepare()
	r.managerArgs = []string{"--leader-elect", "--leader-election-namespace=" + r.namespace}
	leads := newLiar(r.T, env)
	r.kubeconfig = leads.kubeconfig(r.T)
	r.set(usual())
	// What leaves while nobody leads is just missing to the successor, and more than half would be the guard's to hold.
	stop := r.fleet.churn(5 * busy)
	for range n {
		r.row.tried++
		next := newLiar(r.T, env)
		r.kubeconfig = next.kubeconfig(r.T)
		second := r.spawnManager()
		// It has to wait for its turn.
		pass(2 * time.Second)
		w := r.down()
		stopped := time.Now()
		r.mend(w, func() { must(r, r.manager.pause()) })
		r.started(w, stopped, leaseHolds+startBound)
		pass(time.Until(stopped.Add(leaseHolds + 2*time.Second)))
		r.awake(leads)
		r.manager, leads = second, next
	}
	stop()
	r.judge()
}

// awake lets a leader go on that was stopped beyond its Lease, and sees that it ends and writes nothing.
func (r *rig) awake(through *liar) {
	r.Helper()
	var writes atomic.Int32
	through.refusing(func(request *http.Request) int {
		if request.Method != http.MethodGet && writes.Add(1) == 1 {
			r.Errorf("a leader that was stopped beyond its Lease wrote: %s %s", request.Method, request.URL.Path)
		}
		return 0
	})
	must(r, r.manager.resume())
	resumed := time.Now()
	if !wait(time.Second+allowance(), func() bool { return !r.manager.alive() }) {
		r.Error("a leader that was stopped beyond its Lease goes on")
		wait(startBound, func() bool { return !r.manager.alive() })
	}
	r.Logf("the old leader was there for %s after it went on, and sent %d writes", time.Since(resumed).Round(time.Millisecond), writes.Load())
	if state := r.manager.command.ProcessState; !r.manager.alive() && state.ExitCode() == 0 {
		r.Error("a leader that lost its Lease ended with exit code 0, so nobody need start it again")
	}
}
