package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range m.descs {
		out <- desc
	}
	m.slices.Describe(out)
	m.nodes.Describe(out)
	m.heartbeats.Describe(out)
	m.writes.Describe(out)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	m.slices.Collect(out)
	m.nodes.Collect(out)
	m.heartbeats.Collect(out)
	m.writes.Collect(out)
	connections := m.connections.Connections()
	pods := m.pods.Tallies()
	for name, registry := range m.store.All() {
		s := series{Metrics: m, out: out, registry: name}
		s.send(prometheus.GaugeValue, registryConnected, binary(connections[name]))
		s.sendState(registry.State())
		s.sendTally(registry.Tally())
		s.sendPods(pods[name])
	}
}

// series sends the metrics of one registry.
type series struct {
	*Metrics
	out      chan<- prometheus.Metric
	registry types.NamespacedName
}

func (s *series) send(kind prometheus.ValueType, name string, value float64, labels ...string) {
	labels = append([]string{s.registry.Namespace, s.registry.Name}, labels...)
	s.out <- prometheus.MustNewConstMetric(s.descs[name], kind, value, labels...)
}

func (s *series) sendState(state mirror.State) {
	s.send(prometheus.GaugeValue, registrySynced, binary(state.Reading))
	if !state.LastSync.IsZero() {
		s.send(prometheus.GaugeValue, registryLastSync, float64(state.LastSync.UnixNano())/1e9)
	}
	for _, phase := range []rollcallv1alpha1.NodePhase{
		rollcallv1alpha1.NodeReady, rollcallv1alpha1.NodeStale, rollcallv1alpha1.NodeDraining,
		rollcallv1alpha1.NodeExpired, rollcallv1alpha1.NodeInvalid,
	} {
		s.send(prometheus.GaugeValue, registryNodes, float64(state.Nodes[phase]), string(phase))
	}
	s.sendRecords(&state.Records)
	guard := state.Held
	if guard == nil || guard.Reason != rollcallv1alpha1.HeldGuard {
		guard = nil
	}
	s.send(prometheus.GaugeValue, guardActive, binary(guard != nil))
	held := 0
	if guard != nil {
		held = guard.Silent
	}
	s.send(prometheus.GaugeValue, guardHeld, float64(held))
}

func (s *series) sendRecords(r *mirror.Records) {
	for name, count := range map[string]int{
		recordsRefused: r.Refused, neverAccepted: r.NeverAccepted, recordsRemarked: r.Remarked, nodesSuperseded: r.Superseded, keysShared: r.Shared,
		keysFlapping: r.Flapping,
	} {
		s.send(prometheus.GaugeValue, name, float64(count))
	}
}

func (s *series) sendTally(t mirror.Tally) {
	for operation, n := range t.Events {
		s.send(prometheus.CounterValue, watchEvents, float64(n), operation.String())
	}
	for cause, n := range t.Listings {
		s.send(prometheus.CounterValue, watchListings, float64(n), string(cause))
	}
}

func binary(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
