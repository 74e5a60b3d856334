package metrics

import "slices"

// Definition says what there is to know of one metric.
type Definition struct {
	// Name and Type are those of the Prometheus format.
	Name, Type string
	// Help says what the metric means, Action what to do about it.
	Help, Action string
	// Labels are the metric's labels.
	Labels []Label
}

// Label is one label of a metric.
type Label struct {
	// Name is the name, Values says what it can be.
	Name, Values string
}

// The types of metrics.
const (
	gauge     = "gauge"
	counter   = "counter"
	histogram = "histogram"
)

// The names of all metrics.
const (
	registryConnected = "rollcall_registry_connected"
	registrySynced    = "rollcall_registry_synced"
	registryLastSync  = "rollcall_registry_last_sync_timestamp_seconds"
	registryNodes     = "rollcall_registry_nodes"
	recordsRefused    = "rollcall_registry_refused_records"
	recordsRemarked   = "rollcall_registry_remarked_nodes"
	neverAccepted     = "rollcall_registry_never_accepted_entries"
	nodesSuperseded   = "rollcall_registry_superseded_nodes"
	keysShared        = "rollcall_registry_shared_keys"
	keysFlapping      = "rollcall_registry_flapping_keys"
	guardActive       = "rollcall_registry_guard_active"
	guardHeld         = "rollcall_registry_guard_held_nodes"
	watchEvents       = "rollcall_watch_events_total"
	watchListings     = "rollcall_watch_listings_total"
	sliceLatency      = "rollcall_slice_latency_seconds"
	nodeLatency       = "rollcall_node_latency_seconds"
	apiWrites         = "rollcall_api_writes_total"
)

// Definitions returns all metrics.
func Definitions() []Definition {
	return slices.Concat(registryDefinitions(), recordDefinitions(), watchDefinitions(), writeDefinitions(), podDefinitions())
}

// perRegistry returns the labels of a metric that there is once for every NodeRegistry, and those that are given.
func perRegistry(more ...Label) []Label {
	return append([]Label{{"namespace", "the namespace of the NodeRegistry"}, {"registry", "its name"}}, more...)
}

func registryDefinitions() []Definition {
	return []Definition{
		{
			Name: registryConnected, Type: gauge, Labels: perRegistry(),
			Help:   "Whether the connection to NATS is up: 1, or else 0.",
			Action: "0 for minutes: see the reason and message of the condition Connected. The last known nodes keep their endpoints meanwhile, but nobody joins or leaves.",
		},
		{
			Name: registrySynced, Type: gauge, Labels: perRegistry(),
			Help:   "Whether the bucket has been listed completely since the last gap and is being watched: 1, or else 0.",
			Action: "0 for minutes while connected: see the condition Synced. While it is 0 no node expires.",
		},
		{
			Name: registryLastSync, Type: gauge, Labels: perRegistry(),
			Help:   "When the bucket was last listed completely; absent until it has been.",
			Action: "Of use with rollcall_registry_synced: how long an outage has lasted, at most. Absent for minutes after a start: Rollcall removes no endpoint of this registry until NATS answers.",
		},
		{
			Name: registryNodes, Type: gauge, Labels: perRegistry(Label{"phase", "`Ready`, `Stale`, `Draining`, `Expired` or `Invalid`; each is always there"}),
			Help:   "Number of nodes by phase.",
			Action: "Alert when Ready falls below what the service needs. Invalid above 0: the DiscoveredNodes in that phase say what is wrong with their records. Stale: look at those machines and their way to NATS.",
		},
		{
			Name: guardActive, Type: gauge, Labels: perRegistry(),
			Help:   "Whether the disruption guard keeps nodes that are silent: 1, or else 0.",
			Action: "1: find out what cuts the nodes off. If they really are gone, annotate the NodeRegistry with rollcall.dev/accept-expiry=<status.held.since>.",
		},
		{
			Name: guardHeld, Type: gauge, Labels: perRegistry(),
			Help:   "Number of nodes that the disruption guard keeps.",
			Action: "How many endpoints may lead nowhere while the guard is active.",
		},
	}
}

func recordDefinitions() []Definition {
	return []Definition{
		{
			Name: recordsRefused, Type: gauge, Labels: perRegistry(),
			Help:   "Number of nodes whose last record is refused, and that live on their last good one.",
			Action: "Above 0: alert. A release of the service writes records that Rollcall can't read, or an expression of spec.record does not fit them. The condition Degraded quotes one; they keep their endpoints meanwhile, but no change of theirs is seen.",
		},
		{
			Name: neverAccepted, Type: gauge, Labels: perRegistry(),
			Help:   "Number of entries that never held a record which could be accepted.",
			Action: "A few that stay: keys of something else in the bucket. It rises with a new service: look at the DiscoveredNodes in the phase Invalid.",
		},
		{
			Name: recordsRemarked, Type: gauge, Labels: perRegistry(),
			Help:   "Number of nodes whose last record has something odd in it that was left out or read as something else.",
			Action: "Nothing depends on it. The condition RecordAccepted of the DiscoveredNodes names the member; correct the service when it suits.",
		},
		{
			Name: nodesSuperseded, Type: gauge, Labels: perRegistry(),
			Help:   "Number of silent nodes that a newer node has replaced at all their addresses and ports.",
			Action: "Normal after a restart under new node IDs, until they expire. If it stays up: machines without an address of their own.",
		},
		{
			Name: keysShared, Type: gauge, Labels: perRegistry(),
			Help:   "Number of keys that two writers write in turn.",
			Action: "Above 0: two machines have the same node ID, and traffic jumps between them. Give each an ID of its own; an Event KeyShared names the key.",
		},
		{
			Name: keysFlapping, Type: gauge, Labels: perRegistry(),
			Help:   "Number of keys whose nodes changed more often than their budget allows, until they are steady.",
			Action: "Above 0: what such a node gains waits for a few seconds. Look at what registers it; the condition Degraded of the NodeRegistry names a key.",
		},
	}
}

func watchDefinitions() []Definition {
	return []Definition{
		{
			Name: watchEvents, Type: counter, Labels: perRegistry(Label{"operation", "`Put` (a registration or a heartbeat), `Unregister`, `Expire`"}),
			Help:   "Number of messages of the bucket that came in, those of listings among them.",
			Action: "The rate of Put is that of the heartbeats, about the number of nodes divided by their interval. 0 while rollcall_registry_synced is 1: no node writes to this bucket.",
		},
		{
			Name: watchListings, Type: counter, Labels: perRegistry(Label{"cause", "`Start`, `Reconnect`, `MissedHeartbeat`, `SequenceGap`, `Recreated`, `Purged`, `Error`, `Periodic`, `Planned`"}),
			Help:   "Number of complete listings of the bucket that have begun, by cause.",
			Action: "Reconnect and MissedHeartbeat again and again: the network between Rollcall and NATS. SequenceGap: messages get lost on the way. Recreated and Purged: somebody empties the bucket. Error: the logs of the manager and the NATS server. Start, Periodic and Planned (another connection, for a Secret that changed) are normal.",
		},
	}
}

func writeDefinitions() []Definition {
	const live = " Changes that a listing found, after a start or an outage, do not count."
	return []Definition{
		{
			Name: sliceLatency, Type: histogram,
			Help:   "Time from the NATS server's timestamp of a change to the API server's acknowledgement of the EndpointSlice that shows it, on the NATS server's clock." + live,
			Action: "Traffic follows the fleet this late. High: see workqueue_depth of the controller endpointslice, and the API server's own latency.",
		},
		{
			Name: nodeLatency, Type: histogram,
			Help:   "Time from the NATS server's timestamp of a change to the API server's acknowledgement of the DiscoveredNode that shows it, on the NATS server's clock." + live,
			Action: "The view follows the fleet this late, traffic does not wait for it. High while many nodes change at once: the API server takes about a thousand writes a second.",
		},
		{
			Name: apiWrites, Type: counter,
			Labels: []Label{
				{"kind", "`NodeRegistry`, `DiscoveredNode`, `PodRegistration`, `EndpointSlice`, `Service`, `Pod`, or `other`"},
				{"verb", "`create`, `update`, `patch`, `apply`, `delete` or `deletecollection`"},
				{"result", "`success`, `conflict` (somebody else was first; it is tried again), `refused` (the API server understood and declined), or `error`"},
			},
			Help:   "Number of requests that ask the API server to change an object or its status; Events and the Lease of the leader are not among them.",
			Action: "Heartbeats cost no writes, so without changes in the fleet this stands nearly still. refused: the manager's role or the object; the logs name it. error: the API server or the way to it. conflict, for long: another controller writes the same objects.",
		},
	}
}
