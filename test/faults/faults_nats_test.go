package faults

import (
	"time"
)

func faultsOfNATS() []fault {
	return []fault{
		{name: "NATS killed (kill -9) and restarted", run: func(r *rig) {
			restartNATS(r, times(3, 25), (*natsServer).kill)
		}},
		{name: "NATS stopped cleanly and restarted", long: true, run: func(r *rig) {
			restartNATS(r, 25, func(s *natsServer) { must(r, s.process.stop()) })
		}},
		{name: "NATS away for longer than the TTL", run: func(r *rig) {
			awayNATS(r, time.Duration(times(8, 60))*time.Second)
		}},
		{name: "NATS paused (SIGSTOP) for 5 s", run: func(r *rig) { pauseNATS(r, times(1, 3), 5*time.Second) }},
		{name: "NATS paused (SIGSTOP) for 30 s", long: true, run: func(r *rig) { pauseNATS(r, 1, 30*time.Second) }},
		{name: "connection cut", run: cutConnection},
		{name: "connection half-open", run: halfOpenConnection},
		{name: "slow link (20 kB/s)", run: slowLink},
	}
}

// busy is how often something happens in the fleet while something else is broken.
const busy = 200 * time.Millisecond

// restartNATS ends the server again and again, under churn, and starts it soon.
func restartNATS(r *rig, n int, end func(*natsServer)) {
	r.set(usual())
	r.row.prompt = true
	stop := r.fleet.churn(busy)
	for range n {
		r.row.tried++
		w := r.outage()
		end(r.nats)
		pass(time.Duration(r.fleet.random(1000)) * time.Millisecond)
		r.mend(w, r.nats.launch)
		r.over(w)
	}
	stop()
	r.judge()
}

func awayNATS(r *rig, d time.Duration) {
	r.set(usual())
	r.row.prompt = true
	stop := r.fleet.churn(busy)
	r.row.tried++
	w := r.outage()
	r.nats.kill()
	pass(d)
	r.mend(w, r.nats.launch)
	r.over(w)
	stop()
	r.judge()
}

func pauseNATS(r *rig, n int, d time.Duration) {
	r.set(usual())
	r.row.prompt = true
	stop := r.fleet.churn(busy)
	for range n {
		r.row.tried++
		w := r.outage()
		r.nats.pause()
		pass(d)
		r.mend(w, r.nats.resume)
		r.over(w)
	}
	stop()
	r.judge()
}

// cutConnection cuts the manager's connection again and again. What the server counts must be the same afterwards.
func cutConnection(r *rig) {
	r.managerArgs = []string{"--metrics-secure=false", "--metrics-bind-address=" + r.metricsAddress()}
	r.set(usual())
	r.row.prompt = true
	stop := r.fleet.churn(busy)
	// The first cut has it make what it makes once.
	r.changesShow(true)
	before, routines := r.settled(), r.goroutines()
	for range times(10, 200) {
		r.row.tried++
		w := r.outage()
		r.proxy.Cut()
		pass(time.Duration(r.fleet.random(300)) * time.Millisecond)
		r.mend(w, r.proxy.Heal)
		r.over(w)
	}
	stop()
	var after count
	if !wait(patience, func() bool { after = r.nats.count(); return after == before }) {
		r.Errorf("the server counted %+v before, and %+v after", before, after)
	}
	// What is on its way to the API server comes and goes, by a few.
	if !wait(patience, func() bool { return r.goroutines() <= routines+10 }) {
		r.Errorf("the manager had %d goroutines before, and %d after", routines, r.goroutines())
	}
	r.Logf("the server counts %+v before and %+v after, the manager has %d goroutines before and %d after", before, after, routines, r.goroutines())
	r.judge()
}

// settled returns what the server counts once it counts the same twice.
func (r *rig) settled() (c count) {
	r.Helper()
	c = r.nats.count()
	poll(r.T, patience, "the server to count the same for a second", func() bool {
		pass(time.Second)
		before := c
		c = r.nats.count()
		return c == before
	})
	return c
}

// halfOpenConnection lets the connection hang without a word to either end. The TTL is longer than that goes unnoticed: what
// left meanwhile would just be missing else, and in the end so much that the disruption guard holds it.
func halfOpenConnection(r *rig) {
	s := usual()
	s.ttl = 2 * silence
	r.set(s)
	stop := r.fleet.churn(5 * busy)
	for range times(1, 10) {
		r.row.tried++
		w := r.broken(window{holds: true, grace: r.ttl, settle: silence + allowance()})
		r.mend(w, r.proxy.Strand)
		if blind := r.over(w); blind > silence+allowance() {
			r.Errorf("a half-open connection made blind for %s", blind)
		}
	}
	stop()
	r.judge()
}

// silence is how long the manager takes at most to notice that its peer has vanished, and to come back: it misses heartbeats
// for less than a second, and then waits for a second for the answer to a ping.
const silence = 4 * time.Second

// slowRate is what goes through a slow link, in bytes a second and direction.
const slowRate = 20_000

func slowLink(r *rig) {
	r.set(usual())
	stop := r.fleet.churn(busy)
	for range times(1, 3) {
		r.row.tried++
		w := r.broken(window{settle: 5*time.Second + allowance()})
		r.proxy.Slow(slowRate)
		pass(5 * time.Second)
		// A connection that is made anew has to list over the slow link.
		gap := r.broken(window{holds: true, grace: r.ttl, settle: 5*time.Second + allowance()})
		r.proxy.Cut()
		r.mend(gap, r.proxy.Heal)
		r.proxy.Slow(slowRate)
		r.mended(gap, time.Now())
		pass(5 * time.Second)
		r.proxy.Heal()
		r.over(w)
	}
	stop()
	r.judge()
}
