package faults

import "time"

func faultsOfClocks() []fault {
	const step = 10 * time.Minute
	return []fault{
		{name: "NATS server's clock steps 10 minutes ahead", run: func(r *rig) { stepNATS(r, 5, times(1, 5), false, step) }},
		{name: "NATS server's clock steps 10 minutes back", long: true, run: func(r *rig) { stepNATS(r, 15, times(1, 5), false, -step) }},
		{name: "NATS server's clock steps to and fro", long: true, run: func(r *rig) { stepNATS(r, usual().nodes, 6, false, -step, step) }},
		{name: "NATS server's clock steps, connection cut", long: true, run: func(r *rig) { stepNATS(r, 15, 6, true, step, -step) }},
		{name: "clocks 10 minutes ahead", alone: true, long: true, run: func(r *rig) { wrongClock(r, 10*time.Minute) }},
		{name: "clocks 10 minutes behind", alone: true, long: true, run: func(r *rig) { wrongClock(r, -10*time.Minute) }},
	}
}

// wrongClock runs a manager, and nodes, whose clocks are wrong: for as long as they run.
func wrongClock(r *rig, off time.Duration) {
	wall := newWallClock(r.T)
	wall.step(off)
	r.binary, r.env = wall.build(managerProgram), wall.env()
	r.kubeconfig = newLiar(r.T, env).kubeconfig(r.T)
	s := usual()
	s.idle = true
	r.set(s)
	r.fleet.skew = -off
	starting := r.broken(window{})
	r.begin()
	r.fleet.join(s.nodes)
	r.settle()
	r.mended(starting, time.Now())
	stop := r.fleet.churn(busy)
	for range 3 {
		r.row.tried += 2
		w := r.outage()
		r.nats.kill()
		r.mend(w, r.nats.launch)
		r.over(w)
		pass(r.ttl)
		w = r.down()
		must(r, r.manager.kill())
		since := time.Now()
		r.mend(w, r.begin)
		r.started(w, since, startBound)
		pass(r.ttl)
	}
	stop()
	r.judge()
}

// stepNATS lets the wall clock of a living NATS server step by each of the steps in turn. At every step a node dies. The manager
// has nothing to notice, so no window is opened; if the connection is cut, then at once and when all is over, for no longer
// than ever.
func stepNATS(r *rig, nodes, n int, cut bool, steps ...time.Duration) {
	wall := newWallClock(r.T)
	s := usual()
	s.nodes = nodes
	s.server = func(server *natsServer) { server.binary, server.env = wall.build(natsProgram), wall.env() }
	r.set(s)
	for i := range n {
		r.row.tried++
		dead := r.dieAround(func() { wall.step(steps[i%len(steps)]) })
		stepped := time.Now()
		r.changesShow(cut)
		wait(3*r.ttl, func() bool { return !r.observer.endpoints.shows(dead) })
		// Then everything from before has expired, or does not for a long time.
		pass(time.Until(stepped.Add(r.ttl + time.Second)))
		if off := time.Until(r.stream().CachedInfo().TimeStamp); (off - wall.off).Abs() > time.Minute {
			r.Errorf("the server's clock is off by %s, not by %s", off, wall.off)
		}
		r.changesShow(cut)
		if reason := r.degraded(); reason != "" {
			r.Errorf("the NodeRegistry is degraded: %s", reason)
		}
		r.fleet.join(1)
		r.settle()
	}
	r.judge()
}

// dieAround does something, and lets a node die shortly before or at once after. It returns what is then to vanish.
func (r *rig) dieAround(something func()) (dead string) {
	r.Helper()
	ids := r.fleet.ids()
	id := ids[r.fleet.random(len(ids))]
	dead = entity(id, r.fleet.addressOf(id))
	if r.fleet.random(2) == 0 {
		r.fleet.die(id)
	}
	pass(time.Duration(r.fleet.random(int(r.ttl / 2))))
	something()
	r.fleet.die(id)
	return dead
}

// changesShow measures how long it takes until a change shows, after a cut of the connection or just so.
func (r *rig) changesShow(cut bool) {
	r.Helper()
	var w *window
	if cut {
		w = r.outage()
		r.proxy.Cut()
		r.mend(w, r.proxy.Heal)
	}
	r.over(w)
}
