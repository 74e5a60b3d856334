package faults

import "time"

func faultsOfClocks() []fault {
	return []fault{
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
		r.nats.launch()
		r.over(w)
		pass(r.ttl)
		w = r.down()
		must(r, r.manager.kill())
		r.begin()
		r.started(w, time.Now(), startBound)
		pass(r.ttl)
	}
	stop()
	r.judge()
}
