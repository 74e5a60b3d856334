//go:build e2e && linux

package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/rollcall-dev/rollcall/test/e2e/cluster"
)

const (
	// proxyLag is how long kube-proxy may take until connections follow the slices: it gathers changes for a second.
	proxyLag = 2 * time.Second
	// slicesLag is how long the operator may take until the slices follow the bucket.
	slicesLag = time.Second
	// underWay is how old a request can be that a machine has not answered when it dies.
	underWay = 100 * time.Millisecond
)

// join sets up NATS and the registry, and registers the machines.
func (s *stage) join() {
	s.kubectl("apply", "-f", "manifests/nats.yaml")
	s.kubectl("--namespace", "nats", "rollout", "status", "deployment/nats", "--timeout", patience.String())
	s.kubectl("--namespace", fleet, "apply", "-f", "manifests/fleet.yaml")
	s.kubectl("--namespace", fleet, "wait", "noderegistry/catga", "--for=condition=Ready", "--timeout", patience.String())
	nodes := s.nodes()
	for _, node := range nodes {
		s.hosts[node].register(s.T)
	}
	s.inSlices(patience, nodes...)
	s.startCaller(caller)
	s.within(patience, "all machines answer", func(context.Context) error {
		if by := s.ask(caller, http.MethodGet).By; len(by) < len(nodes) {
			return fmt.Errorf("%d of %d do", len(by), len(nodes))
		}
		return nil
	})
	s.calls()
	s.watch(proxyLag)
	s.answeredBy(s.calls(), nodes...)
	s.startCaller(callerByName)
	s.watch(proxyLag)
	s.answeredBy(s.ask(callerByName, http.MethodPost), "edge-1")
	s.Log("\n" + s.kubectl("--namespace", fleet, "get", "noderegistries,discoverednodes,endpointslices"))
}

// nodes returns the names of all machines.
func (s *stage) nodes() []string { return slices.Sorted(maps.Keys(s.hosts)) }

// watch lets the calls go on for a time: that nothing happens takes time to see.
func (s *stage) watch(d time.Duration) {
	s.Helper()
	select {
	case <-time.After(d):
	case <-s.Context().Done():
	}
}

// undisturbed fails the test if a call fails, or a machine gets none, during a disturbance and while its effects may still
// come: the machines that could not heartbeat would be missed a TTL later.
func (s *stage) undisturbed(disturb func()) {
	s.Helper()
	s.calls()
	disturb()
	s.watch(ttl + slicesLag + proxyLag)
	s.answeredBy(s.calls(), s.nodes()...)
	s.calls()
	s.watch(proxyLag)
	s.answeredBy(s.calls(), s.nodes()...)
}

// natsAway takes the NATS server away for longer than any machine lives without a heartbeat, and brings it back.
func (s *stage) natsAway() {
	scale := func(replicas string) {
		s.kubectl("--namespace", "nats", "scale", "deployment/nats", "--replicas", replicas)
	}
	s.undisturbed(func() {
		scale("0")
		s.kubectl("--namespace", "nats", "wait", "pod", "--selector=app=nats", "--for=delete", "--timeout", patience.String())
		s.kubectl("--namespace", fleet, "wait", "noderegistry/catga", "--for=condition=Connected=false", "--timeout", patience.String())
		s.watch(ttl + slicesLag + proxyLag)
		scale("1")
		s.kubectl("--namespace", "nats", "rollout", "status", "deployment/nats", "--timeout", patience.String())
		s.kubectl("--namespace", fleet, "wait", "noderegistry/catga", "--for=condition=Ready", "--timeout", patience.String())
	})
}

// leaderKilled kills the manager that leads, so that it can't hand over: another one leads once its lease has run out.
func (s *stage) leaderKilled() {
	old := s.leader()
	name, _, _ := strings.Cut(old, "_")
	pod := get(s, system, name, &corev1.Pod{})
	s.undisturbed(func() {
		killed := time.Now()
		if err := cluster.Kill(s.Context(), pod.Status.ContainerStatuses[0].ContainerID); err != nil {
			s.Fatal(err)
		}
		s.within(patience, "another manager leads", func(context.Context) error {
			if leader := s.leader(); leader == old || leader == "" {
				return fmt.Errorf("the leader is %q", leader)
			}
			return nil
		})
		s.Logf("%s was killed, and %.1f s later %s leads", old, time.Since(killed).Seconds(), s.leader())
	})
}

// leader returns the identity of the manager that leads: its pod's name, "_", and what is new with every start.
func (s *stage) leader() string {
	s.Helper()
	lease := get(s, system, "rollcall-manager", &coordinationv1.Lease{})
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// unregister ends one machine's agent in good order; its server goes on, so that no request fails.
func (s *stage) unregister() {
	leaving := s.hosts["edge-3"]
	s.calls()
	s.watch(proxyLag)
	leaving.unregister(s.T)
	gone := time.Now()
	s.Logf("out of the slices %.3f s after the agent had ended", s.inSlices(slicesLag, "edge-1", "edge-2").Sub(gone).Seconds())
	s.watch(ttl)
	calls := s.calls()
	s.answeredBy(calls, s.nodes()...)
	last := calls.By["edge-3"].Last.Sub(gone)
	s.Logf("the last request that it got: %.3f s after", last.Seconds())
	if last > proxyLag {
		s.Errorf("it got requests until %v after it had unregistered, want at most %v", last, proxyLag)
	}

	leaving.register(s.T)
	s.inSlices(patience, s.nodes()...)
}

// die kills all that runs on one machine.
func (s *stage) die() {
	dying := s.hosts["edge-2"]
	s.calls()
	died := time.Now()
	dying.die(s.T)
	s.Logf("out of the slices %.3f s after it died", s.inSlices(ttl+slicesLag, "edge-1", "edge-3").Sub(died).Seconds())
	s.watch(ttl)
	calls := s.calls()
	for _, failure := range calls.Failures {
		if late := failure.At.Sub(died); late < -underWay || late > ttl+slicesLag {
			s.Errorf("a request failed %v after it died, want none before, and none later than %v: %s", late, ttl+slicesLag, failure.Reason)
		}
	}
	s.Logf("%d of %d requests failed, the last %.3f s after it died", len(calls.Failures), calls.Requests, calls.LastFailure().Sub(died).Seconds())
	if len(calls.Failures) == 0 {
		s.Error("no request failed: the machine was not called, so this shows nothing")
	}

	// It comes back.
	dying.serve(s.T)
	dying.register(s.T)
	s.inSlices(patience, s.nodes()...)
	s.watch(proxyLag)
	s.calls()
	s.watch(proxyLag)
	s.answeredBy(s.calls(), s.nodes()...)
}
