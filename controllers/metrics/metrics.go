package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// Connections is what knows of the connections to NATS.
type Connections interface {
	// Connections returns every registry that is to have a connection, and whether it is up. It does not block.
	Connections() map[types.NamespacedName]bool
}

// Problems counts the nodes of a registry that a person should look at, and those of them that have no DiscoveredNode; ok is false if
// all nodes have one. It must not block.
type Problems interface {
	Problems(registry types.NamespacedName) (problems, notShown int, ok bool)
}

// Metrics holds the metrics of one manager. It is a prometheus.Collector, safe for concurrent use.
type Metrics struct {
	descs       map[string]*prometheus.Desc
	store       *mirror.Store
	connections Connections
	pods        Pods
	problems    Problems

	slices, nodes, heartbeats prometheus.Histogram
	writes                    *prometheus.CounterVec
}

var _ prometheus.Collector = &Metrics{}

// New returns metrics that have nothing to say of registries until they are registered.
func New() *Metrics {
	m := &Metrics{descs: map[string]*prometheus.Desc{}}
	for _, d := range Definitions() {
		switch d.Name {
		case sliceLatency:
			m.slices = newHistogram(d)
		case nodeLatency:
			m.nodes = newHistogram(d)
		case podHeartbeatLatency:
			m.heartbeats = newHistogram(d)
		case apiWrites:
			m.writes = prometheus.NewCounterVec(prometheus.CounterOpts{Name: d.Name, Help: d.Help}, d.labelNames())
		default:
			m.descs[d.Name] = prometheus.NewDesc(d.Name, d.Help, d.labelNames(), nil)
		}
	}
	return m
}

func newHistogram(d Definition) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: d.Name, Help: d.Help,
		Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60},
	})
}

func (d *Definition) labelNames() []string {
	names := make([]string, 0, len(d.Labels))
	for _, label := range d.Labels {
		names = append(names, label.Name)
	}
	return names
}

// Register makes the metrics known, with those of the registries in the Store and of the pods from now on. Metrics of another
// manager, made earlier in this process, are known no longer.
func (m *Metrics) Register(r prometheus.Registerer, store *mirror.Store, connections Connections, pods Pods, problems Problems) error {
	m.store, m.connections, m.pods, m.problems = store, connections, pods, problems
	r.Unregister(m)
	return r.Register(m)
}

// SliceWritten takes in that an EndpointSlice in the namespace shows a change of that time.
func (m *Metrics) SliceWritten(namespace string, changed time.Time) {
	if age, ok := m.store.Age(namespace, changed); ok {
		m.slices.Observe(seconds(age))
	}
}

// NodeWritten takes in that a DiscoveredNode shows the last change of its node.
func (m *Metrics) NodeWritten(n *mirror.Node) {
	registry := m.store.Mirror(types.NamespacedName{Namespace: n.Namespace, Name: n.Registry})
	if registry == nil {
		return
	}
	if age, ok := registry.Age(n.Changed); ok {
		m.nodes.Observe(seconds(age))
	}
}

// seconds returns an age as it is observed: never below zero, as the time on the server's clock is an estimate.
func seconds(age time.Duration) float64 { return max(0, age).Seconds() }
