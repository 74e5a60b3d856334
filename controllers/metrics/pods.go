package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rollcall-dev/rollcall/controllers/podregistration/roster"
)

// The names of the metrics of PodRegistrations.
const (
	podHeartbeats       = "rollcall_pod_heartbeats_total"
	podHeartbeatLatency = "rollcall_pod_heartbeat_latency_seconds"
	podsRegistered      = "rollcall_pod_registered"
	podConflicts        = "rollcall_pod_conflicts"
)

func podDefinitions() []Definition {
	return []Definition{
		{
			Name: podHeartbeats, Type: counter, Labels: perRegistry(Label{"result", "`success`, `overtaken` (somebody else has written or removed the entry, which is then looked at), or `error` (the server refused it, or did not answer); what waits for the connection counts once"}),
			Help:   "Number of heartbeats sent for pods.",
			Action: "The rate of success is about the number of registered pods divided by heartbeatInterval. error: the conditions of the PodRegistrations, and the NATS server. overtaken, for long: two owners fight for a key, see rollcall_pod_conflicts.",
		},
		{
			Name: podHeartbeatLatency, Type: histogram,
			Help:   "Time from when a pod's heartbeat was due until the NATS server acknowledged or refused it.",
			Action: "Above a second: the NATS server or the way to it is slow, or the manager lacks processor time. An entry expires when a heartbeat is later than the rest of the TTL.",
		},
		{
			Name: podsRegistered, Type: gauge, Labels: perRegistry(),
			Help:   "Number of pods that PodRegistrations have in the bucket.",
			Action: "Alert when it falls below what the service needs: the status of the PodRegistrations says which pods are missing, and why.",
		},
		{
			Name: podConflicts, Type: gauge, Labels: perRegistry(),
			Help:   "Number of pods whose key somebody else has.",
			Action: "Above 0: the Events of those pods name the other owner. Give the pods another node ID, or remove the other entry.",
		},
	}
}

// Pods is what knows of the pods that are registered.
type Pods interface {
	// Tallies returns what was counted for each registry. It does not block.
	Tallies() map[types.NamespacedName]roster.Tally
}

// HeartbeatSent takes in the end of a pod's heartbeat.
func (m *Metrics) HeartbeatSent(_ types.NamespacedName, b roster.Beat) {
	m.heartbeats.Observe(seconds(b.Lag))
}

func (s *series) sendPods(t roster.Tally) {
	s.send(prometheus.CounterValue, podHeartbeats, float64(t.Stored), "success")
	s.send(prometheus.CounterValue, podHeartbeats, float64(t.Overtaken), "overtaken")
	s.send(prometheus.CounterValue, podHeartbeats, float64(t.Failed), "error")
	s.send(prometheus.GaugeValue, podsRegistered, float64(t.Live))
	s.send(prometheus.GaugeValue, podConflicts, float64(t.Conflicts))
}
