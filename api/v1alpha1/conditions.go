package v1alpha1

// Types of conditions. All of them are normally True, except Degraded, which is normally False.
const (
	// ConditionReady says whether the object does its job. On a NodeRegistry and a PodRegistration it summarises
	// everything else and, when it is not True, carries the reason and message of what stands in the way. On a
	// DiscoveredNode it says whether the node takes traffic.
	ConditionReady = "Ready"

	// ConditionConnected says whether a NodeRegistry has a live connection to NATS.
	ConditionConnected = "Connected"

	// ConditionSynced says whether a NodeRegistry's bucket has been listed completely since the connection was made, and
	// is being watched. Until then endpoints are added and updated, but never removed.
	ConditionSynced = "Synced"

	// ConditionBucketAsRequested is True while a NodeRegistry's bucket has the settings that spec.bucket asks for. Only what spec.bucket sets
	// is compared. It informs: Ready does not depend on it.
	ConditionBucketAsRequested = "BucketAsRequested"

	// ConditionRecordAccepted is True if the last record of a DiscoveredNode's entry was accepted. A node that was
	// known before keeps its last good facts, and with them its traffic, while its records are refused.
	ConditionRecordAccepted = "RecordAccepted"

	// ConditionDegraded says whether a NodeRegistry works under a restriction that a person should look at.
	ConditionDegraded = "Degraded"

	// ConditionEndpointsSynced is the condition of an annotated Service that says whether its EndpointSlices are what the
	// annotation asks for. True means that they are written, not that they take traffic: the reason says what stands in the way, and
	// the message counts the nodes.
	ConditionEndpointsSynced = "rollcall.dev/EndpointsSynced"
)

// Reasons that more than one kind uses.
const (
	// ReasonReady means that everything is as it should be. There is nothing to do.
	ReasonReady = "Ready"

	// ReasonNotReady means that the work has not begun yet. It passes by itself within seconds; if it stays, look at the
	// logs of the manager.
	ReasonNotReady = "NotReady"

	// ReasonSuspended means that spec.suspend of the NodeRegistry is set: nothing is read and nothing is changed. Unset
	// it to go on.
	ReasonSuspended = "Suspended"

	// ReasonInvalidExpression means that a CEL expression of the spec does not compile or has the wrong type. The message
	// names the field and the position; correct the expression. On a NodeRegistry the last spec.record that was valid stays in
	// force meanwhile, unless Rollcall has started since.
	ReasonInvalidExpression = "InvalidExpression"

	// ReasonRegistryNotFound means that the NodeRegistry that a PodRegistration names, or that the annotation of an empty Service
	// selects, does not exist in the namespace. Create it or correct the name.
	ReasonRegistryNotFound = "RegistryNotFound"
)

// Reasons of the condition Ready of a DiscoveredNode.
const (
	// ReasonHeartbeating means that the node heartbeats in time and takes traffic. There is nothing to do.
	ReasonHeartbeating = "Heartbeating"

	// ReasonHeld means that the node is silent and takes traffic nevertheless, for too many nodes are silent at once, or the
	// bucket takes no heartbeats. The condition Degraded of the NodeRegistry says why, and what to do.
	ReasonHeld = "Held"

	// ReasonSuperseded means that the node is silent, and that another node has registered each of its addresses and ports
	// since and takes the traffic there. There is nothing to do if the machine was replaced; else give each machine an address
	// of its own.
	ReasonSuperseded = "Superseded"

	// ReasonStale means that the last heartbeat is older than spec.liveness.staleAfter of the NodeRegistry. The node takes
	// no traffic until it heartbeats again; look at the machine and its way to NATS.
	ReasonStale = "Stale"

	// ReasonDraining means that the node itself asked for no new traffic. There is nothing to do: it is about to leave.
	ReasonDraining = "Draining"

	// ReasonCordoned means that a person set spec.cordoned. Unset it to give the node traffic again.
	ReasonCordoned = "Cordoned"

	// ReasonFlapping means that the node changed more than 20 times, and more often than once a second since. What it loses counts at
	// once; an address, a port, a label or readiness that it gains counts once its budget has refilled, a few seconds after the last
	// change. On a NodeRegistry it means that some node does so. Look at what registers the node, and at whether two machines write
	// its key.
	ReasonFlapping = "Flapping"

	// ReasonExpired means that the node sent no heartbeat for the whole TTL of the bucket. It is in no EndpointSlice, and
	// the object goes after spec.liveness.retainExpired. Start the service on the machine again, or do nothing if the
	// machine is gone.
	ReasonExpired = "Expired"

	// ReasonInvalidRecord means that the entry of the bucket can't be read as a node. The message names the fault; correct
	// the service that writes the entry, or the expressions in spec.record of the NodeRegistry.
	ReasonInvalidRecord = "InvalidRecord"

	// ReasonNodeIDMismatch means that the record's NodeId is not the one in its key. The key decides who a node is; correct
	// the service that writes the entry.
	ReasonNodeIDMismatch = "NodeIDMismatch"

	// ReasonInvalidKey means that the key of the entry is none that a client of NATS Key-Value takes, or that nothing is
	// left of it after the prefix. Correct the service that writes the entry, and delete the key.
	ReasonInvalidKey = "InvalidKey"

	// ReasonDuplicateNodeID means that an older entry of the bucket, under another key, has the same node ID, and keeps the
	// name. Give each machine an ID of its own, or correct spec.record.nodeID of the NodeRegistry. It passes by itself when
	// the older entry expires.
	ReasonDuplicateNodeID = "DuplicateNodeID"

	// ReasonAddressRefused means that an address of the node is none that may take traffic: loopback, link-local and the
	// like never may, and spec.addressPolicy of the NodeRegistry can refuse more. Correct the address that the node
	// registers, or the policy.
	ReasonAddressRefused = "AddressRefused"
)

// Reasons of the condition RecordAccepted of a DiscoveredNode. It is False for the reasons InvalidRecord, InvalidKey,
// NodeIDMismatch, ExpressionFailed and DuplicateNodeID; the last one for a node that was known and now gives the ID of another
// node: it keeps the ID that it had.
const (
	// ReasonAccepted means that everything in the record could be read. There is nothing to do.
	ReasonAccepted = "Accepted"

	// ReasonAcceptedWithRemarks means that the record is used, and that something in it is odd. The message names the member
	// and what was made of it. Correct the service that writes the entry when it suits you.
	ReasonAcceptedWithRemarks = "AcceptedWithRemarks"

	// ReasonExpressionFailed means that an expression of spec.record of the NodeRegistry can't be evaluated over the entry, or
	// gives something else than it should. On a NodeRegistry it means that one does so for all entries. The message names the
	// field; correct the expression, or the service that writes the entries.
	ReasonExpressionFailed = "ExpressionFailed"

	// ReasonKeyShared is the reason of the Event that says that two writers take turns in writing one key, so that the node's
	// endpoint jumps from one to the other. Give each machine an ID of its own.
	ReasonKeyShared = "KeyShared"
)

// Reasons of the condition BucketAsRequested of a NodeRegistry.
const (
	// ReasonBucketUnknown means that the bucket was not read yet; Synced says why. It passes by itself.
	ReasonBucketUnknown = "BucketUnknown"

	// ReasonAsRequested means that the bucket is what spec.bucket asks for. There is nothing to do.
	ReasonAsRequested = "AsRequested"

	// ReasonBucketDiffers means that the bucket has another setting than spec.bucket asks for, or a TTL with which
	// spec.liveness.staleAfter never takes effect. The message names it. Rollcall works with the bucket as it is and never alters
	// it; change the bucket, or the spec.
	ReasonBucketDiffers = "BucketDiffers"
)

// Reasons of the condition Connected of a NodeRegistry.
const (
	// ReasonConnected means that the connection to NATS is up. There is nothing to do.
	ReasonConnected = "Connected"

	// ReasonLimitReached means that the server refuses the connection because a limit of the account or the server is reached.
	// The message names it; raise the limit, or close connections that nobody needs.
	ReasonLimitReached = "LimitReached"

	// ReasonConnecting means that the first connection is being made. It passes by itself.
	ReasonConnecting = "Connecting"

	// ReasonConnectionLost means that the connection was up and is being made again. The last known nodes keep their
	// endpoints. If it stays, look at the NATS servers and the network on the way.
	ReasonConnectionLost = "ConnectionLost"

	// ReasonConnectionFailed means that a server was reached, but the connection can't be made. The message says what the last
	// attempt met.
	ReasonConnectionFailed = "ConnectionFailed"

	// ReasonServerNotAllowed means that the manager may not connect to any of spec.connection.servers; none was dialled.
	// Whoever runs the manager can allow them with its flag --allowed-server. Without that flag, loopback and link-local
	// addresses, the clouds' metadata services and the API server are not allowed.
	ReasonServerNotAllowed = "ServerNotAllowed"

	// ReasonServersInvalid means that an item of spec.connection.servers is no server, so that none is dialled. Only an object
	// that was stored before such items were refused has one. Correct the item that the message names.
	ReasonServersInvalid = "ServersInvalid"

	// ReasonServerNotFound means that the names in spec.connection.servers have no address. Correct them, or the DNS.
	ReasonServerNotFound = "ServerNotFound"

	// ReasonServerUnreachable means that no server accepts a connection. Check spec.connection.servers and the network on
	// the way; the message says what the last attempts met.
	ReasonServerUnreachable = "ServerUnreachable"

	// ReasonTLSFailed means that the connection can't be secured. Check spec.connection.tls and the server's certificate.
	ReasonTLSFailed = "TLSFailed"

	// ReasonWebSocketFailed means that the server opens no WebSocket. Check that spec.connection.servers names its WebSocket
	// port, with the scheme ws or wss.
	ReasonWebSocketFailed = "WebSocketFailed"

	// ReasonProtocolError means that what answers does not behave like a NATS server, or sends more than a server may. Check
	// spec.connection.servers.
	ReasonProtocolError = "ProtocolError"

	// ReasonAuthenticationRequired means that the server demands a login and spec.connection gives none. Name a Secret in
	// spec.connection.auth.
	ReasonAuthenticationRequired = "AuthenticationRequired"

	// ReasonAuthenticationFailed means that the server refuses the credentials. Correct the Secret that
	// spec.connection.auth names, or the account on the server.
	ReasonAuthenticationFailed = "AuthenticationFailed"

	// ReasonSecretNotFound means that a Secret or ConfigMap that spec.connection names, or the key in it, does not exist
	// in the namespace. Create it; it is picked up within seconds. With Degraded, the connection stands nevertheless, but
	// could not be made again.
	ReasonSecretNotFound = "SecretNotFound"

	// ReasonSecretInvalid means that a key of a Secret or ConfigMap that spec.connection names holds something else than
	// it should. The message says what is expected; correct the key. With Degraded, the connection stands nevertheless.
	ReasonSecretInvalid = "SecretInvalid"

	// ReasonSecretUnreadable means that the API server does not give Rollcall a Secret or ConfigMap that spec.connection
	// names. Grant Rollcall's service account to get it; see docs/connections.md.
	ReasonSecretUnreadable = "SecretUnreadable"
)

// Reasons of the condition Synced of a NodeRegistry.
const (
	// ReasonPermissionDenied means that the user may not use a subject that is needed to read the bucket. Grant on the
	// server what the message names. With Degraded, the bucket is read nevertheless, but not as well as it could be.
	ReasonPermissionDenied = "PermissionDenied"

	// ReasonListed means that the bucket has been listed completely and is being watched. There is nothing to do.
	ReasonListed = "Listed"

	// ReasonListing means that the bucket is being listed. It passes by itself.
	ReasonListing = "Listing"

	// ReasonNotListed means that the bucket can't be listed because there is no connection; Connected says why.
	ReasonNotListed = "NotListed"

	// ReasonBucketNotFound means that the bucket does not exist and spec.bucket.creationPolicy is Never. Create the bucket,
	// or set IfMissing.
	ReasonBucketNotFound = "BucketNotFound"

	// ReasonBucketError means that the bucket can't be created or read. The message is the server's; look at the stream
	// KV_<bucket> on the server.
	ReasonBucketError = "BucketError"
)

// Reasons of the condition Degraded of a NodeRegistry.
const (
	// ReasonAsExpected means that there is no restriction. There is nothing to do.
	ReasonAsExpected = "AsExpected"

	// ReasonExpiryGuard means that all of at least 3 nodes, or more than spec.liveness.maxSilentPercent of them, fell silent
	// within one TTL without unregistering, so none of them loses its endpoints. Find out what cut them off. It ends when
	// enough nodes heartbeat. If the silent ones really are gone, set the annotation rollcall.dev/accept-expiry on the
	// NodeRegistry to the value of status.held.since.
	ReasonExpiryGuard = "ExpiryGuard"

	// ReasonStoreFull means that the bucket, the account or the disk of the NATS server is full, so heartbeats may be refused
	// and no node is removed for its silence. The message says what is full; raise that limit or make room.
	ReasonStoreFull = "StoreFull"

	// ReasonSealed means that the stream of the bucket is sealed: it never takes a heartbeat again, so no node is removed for
	// its silence. Create another bucket and name it in spec.bucket.name.
	ReasonSealed = "Sealed"

	// ReasonMirrorCut means that the bucket is a mirror or has sources, and does not reach its origin, so no node is removed for
	// its silence. The message names the origin; look at it and at the way between the two servers.
	ReasonMirrorCut = "MirrorCut"

	// ReasonNobodyWrites means that the stream of the bucket no longer takes the subjects of its keys, so nobody can heartbeat and
	// no node is removed for its silence. Put $KV.<bucket>.> back into the subjects of the stream KV_<bucket>.
	ReasonNobodyWrites = "NobodyWrites"

	// ReasonExpiryAccepted is the reason of the Event that says how many silent nodes were let go because the annotation
	// rollcall.dev/accept-expiry asked for it. There is nothing to do.
	ReasonExpiryAccepted = "ExpiryAccepted"

	// ReasonExpiryNotAccepted is the reason of the Event that says that the annotation rollcall.dev/accept-expiry has another
	// value than status.held.since, and so lets no node go. Set it to that value, or remove it.
	ReasonExpiryNotAccepted = "ExpiryNotAccepted"

	// ReasonNodesChanged is the reason of the Event that counts the nodes whose phase changed and that have no Event of their
	// own, for there were too many at once. Look at the DiscoveredNodes.
	ReasonNodesChanged = "NodesChanged"

	// ReasonRegistryDeleted is the reason of the Event on a Service that says how many endpoints it lost because a NodeRegistry
	// was deleted. Create the NodeRegistry again if that was a mistake.
	ReasonRegistryDeleted = "RegistryDeleted"

	// ReasonBucketUnfit means that the bucket takes no records of an ordinary size. The message says why; raise its limit of the
	// size of a value.
	ReasonBucketUnfit = "BucketUnfit"

	// ReasonNoExpiry means that the bucket has no TTL and spec.liveness.staleAfter is not set, so a node that dies without
	// unregistering keeps its traffic until somebody deletes its key. Set staleAfter, or give the bucket a TTL.
	ReasonNoExpiry = "NoExpiry"

	// ReasonStaleAfterTooShort means that spec.liveness.staleAfter is below twice the interval in which most nodes heartbeat, so
	// one late heartbeat takes a node's traffic. Raise it, or have the nodes heartbeat more often.
	ReasonStaleAfterTooShort = "StaleAfterTooShort"

	// ReasonRecordsRefused means that nodes which had good records write records that are refused, or that more than half of all
	// entries never held a good one. Nodes that had a good record keep their last good facts and their traffic. The message
	// counts them and quotes one; correct the service that writes the entries, or spec.record.
	ReasonRecordsRefused = "RecordsRefused"

	// ReasonViewsRefused means that the API server refuses to create, update or delete DiscoveredNodes: an admission policy or webhook,
	// a quota, a missing right or the validation does not take them. They show what was so before; endpoints do not depend on them.
	// The message counts them and has the API server's words. One write a cause is tried again, after 1 s to 5 min, and all of them once
	// it succeeds.
	ReasonViewsRefused = "ViewsRefused"

	// ReasonViewsDisputed means that somebody changes or deletes DiscoveredNodes again and again, which Rollcall puts back: each
	// once a minute at most, while a change of its node is written at once. The message names the field manager, or says that an
	// admission policy or webhook does it. Have it leave the DiscoveredNodes alone. Labels other than those of spec.labels, annotations and
	// owner references are free to everybody.
	ReasonViewsDisputed = "ViewsDisputed"

	// ReasonLabelNotFound means that no record has the metadata that an entry of spec.labels names, so no node has that label.
	// The message names them; correct spec.labels, or the services that write the entries.
	ReasonLabelNotFound = "LabelNotFound"

	// ReasonReadingTooSlow means that the records come in faster than they can be read within the registry's share of a
	// processor. What is not read yet keeps its last good facts. Make the expressions of spec.record cheaper.
	ReasonReadingTooSlow = "ReadingTooSlow"

	// ReasonTooManyNodes means that the bucket holds more entries than spec.maxNodes, and those beyond it are not mirrored.
	// Remove entries or raise the limit.
	ReasonTooManyNodes = "TooManyNodes"
)

// Reasons of the condition Ready of a PodRegistration.
const (
	// ReasonRegistered means that every pod that should be in the bucket is. There is nothing to do.
	ReasonRegistered = "Registered"

	// ReasonConflict means that the key of a pod was written by somebody else, who keeps it. Give the pods another node ID
	// with spec.nodeID, or remove the other entry.
	ReasonConflict = "Conflict"

	// ReasonRegistryNotReady means that the NodeRegistry has no working connection to its bucket; its own conditions say
	// why.
	ReasonRegistryNotReady = "RegistryNotReady"

	// ReasonHeartbeatTooSlow means that spec.heartbeatInterval is more than a third of the bucket's TTL, so that two lost
	// heartbeats would expire a node. Lower the interval or raise the TTL.
	ReasonHeartbeatTooSlow = "HeartbeatTooSlow"

	// ReasonRegistrationFailed means that a pod can't be registered, for its record can't be made or the server refuses it.
	// The message names the first such pod and what to do; each has an Event.
	ReasonRegistrationFailed = "RegistrationFailed"

	// ReasonClusterNameConflict means that another cluster with the same name uses the bucket. Neither touches the other's
	// entries, but give every cluster a --cluster-name of its own.
	ReasonClusterNameConflict = "ClusterNameConflict"
)

// Reasons of the condition rollcall.dev/EndpointsSynced of a Service. The condition is False for RegistryNotFound, RegistryNotListed,
// InvalidSelector, UnsupportedService, EndpointsRefused, QuotaExceeded, RemovalRefused, WriteUnanswered, ChangedBack and WriteFailed, and
// True for the others. Where several are so the gravest is the reason, and the message tells all.
const (
	// ReasonSynced means that the EndpointSlices are what the annotation asks for, and that some endpoint is ready. There is nothing
	// to do; the message counts the nodes of which there is something to say.
	ReasonSynced = "Synced"

	// ReasonInvalidSelector means that the annotation rollcall.dev/node-selector is no label selector. The existing
	// EndpointSlices stay as they are; correct the annotation.
	ReasonInvalidSelector = "InvalidSelector"

	// ReasonInvalidTargetRef means that the annotation rollcall.dev/target-ref has a value that Rollcall does not know. The
	// EndpointSlices are written as if there were none: their endpoints have no targetRef. Set it to DiscoveredNode, or remove it.
	ReasonInvalidTargetRef = "InvalidTargetRef"

	// ReasonUnsupportedService means that the Service can't have endpoints from Rollcall: it has a selector of its own or
	// is of type ExternalName. Remove the selector, or the annotation.
	ReasonUnsupportedService = "UnsupportedService"

	// ReasonEndpointsRefused means that the API server refuses some endpoints, or all: an admission policy or a webhook does not
	// let them be in an EndpointSlice. They are left out, and all else is written. Change the nodes, or what refuses them.
	ReasonEndpointsRefused = "EndpointsRefused"

	// ReasonQuotaExceeded means that a ResourceQuota of the namespace lets no EndpointSlice be created, and those that there are
	// have no room for some endpoints. Raise count/endpointslices.discovery.k8s.io.
	ReasonQuotaExceeded = "QuotaExceeded"

	// ReasonRemovalRefused means that endpoints which should be gone can't be taken out of their EndpointSlice: the API server
	// refuses to update it, and to put another one in its place. Change what refuses it: traffic goes to where nobody is.
	ReasonRemovalRefused = "RemovalRefused"

	// ReasonWriteUnanswered means that a write of an EndpointSlice has had no answer for 5 seconds. Look at the admission webhooks
	// that take EndpointSlices of the namespace, and at the API server.
	ReasonWriteUnanswered = "WriteUnanswered"

	// ReasonChangedBack means that somebody else changes back what Rollcall writes, again and again. The message names the field managers;
	// let only one of them write. Rollcall puts it right once a minute at most; what a node loses is written at once. It is a reason of
	// the condition Degraded of a NodeRegistry as well.
	ReasonChangedBack = "ChangedBack"

	// ReasonWriteFailed means that the API server can't write an EndpointSlice, for example since an admission webhook is down. The
	// message is the API server's; it is tried again.
	ReasonWriteFailed = "WriteFailed"

	// ReasonRegistryNotListed means that a NodeRegistry has not been listed since the manager started, so that endpoints are added and
	// none is removed. The condition is False if no endpoint is ready. It mostly passes by itself; else the conditions of the
	// NodeRegistry say why.
	ReasonRegistryNotListed = "RegistryNotListed"

	// ReasonNoNodes means that the annotation selects no node. Correct it, or spec.labels of the NodeRegistry.
	ReasonNoNodes = "NoNodes"

	// ReasonAddressFamilyNotFound means that no node has an address in a family of the Service. Have the nodes register one, or take the
	// family out of the Service. The first family of a Service can't be changed: replace the Service.
	ReasonAddressFamilyNotFound = "AddressFamilyNotFound"

	// ReasonPortNotFound means that no node has a port that a targetPort of the Service names, with its protocol. Correct
	// the targetPort, or the port names that the nodes register. In an Event of a pod it means that no container port has the name.
	ReasonPortNotFound = "PortNotFound"

	// ReasonAllStale means that no endpoint is ready because every node is Stale. Look at why the heartbeats are late.
	ReasonAllStale = "AllStale"

	// ReasonAllExpired means that there is no endpoint because every node is Expired. Start the service on the machines again.
	ReasonAllExpired = "AllExpired"

	// ReasonAllRefused means that there is no endpoint because every record, or every address, is refused. The DiscoveredNodes say why;
	// correct the service that writes the records, or spec.record or spec.addressPolicy of the NodeRegistry.
	ReasonAllRefused = "AllRefused"

	// ReasonAllCordoned means that no endpoint is ready because every node is cordoned. Unset spec.cordoned of the DiscoveredNodes.
	ReasonAllCordoned = "AllCordoned"

	// ReasonAllDraining means that no endpoint is ready because every node is draining. It is mostly a rollout of all nodes at once;
	// have some of them take traffic again.
	ReasonAllDraining = "AllDraining"

	// ReasonAllFlapping means that no endpoint is ready because every node changes too often. Look at what registers them.
	ReasonAllFlapping = "AllFlapping"

	// ReasonAllDisplaced means that no endpoint is ready because other nodes are shown at the address of every one, or superseded it.
	// Give each node an address of its own, or select the nodes that are there now.
	ReasonAllDisplaced = "AllDisplaced"

	// ReasonNoReadyEndpoint means that no endpoint is ready, for several causes. The message counts them.
	ReasonNoReadyEndpoint = "NoReadyEndpoint"

	// ReasonTrafficPolicyLocal means that internalTrafficPolicy or externalTrafficPolicy is Local: kube-proxy then drops what goes to
	// endpoints elsewhere, and the nodes are on no node of the cluster. Set it to Cluster.
	ReasonTrafficPolicyLocal = "TrafficPolicyLocal"

	// ReasonEndpointsMirrored means that Kubernetes mirrors an Endpoints object of the Service's name that somebody keeps by hand: its
	// addresses stay ready beside the nodes, whatever becomes of them. Delete that object; the message has the command.
	ReasonEndpointsMirrored = "EndpointsMirrored"

	// ReasonSelectorSlicesLeft means that EndpointSlices are left from an earlier spec.selector of the Service: their addresses stay
	// ready beside the nodes, whatever becomes of the pods. Delete them; the message has the command.
	ReasonSelectorSlicesLeft = "SelectorSlicesLeft"

	// ReasonForeignSlices means that EndpointSlices of the Service that somebody else writes have ready endpoints beside the nodes. Rollcall
	// deletes none of them; the message names one, and who manages it.
	ReasonForeignSlices = "ForeignSlices"

	// ReasonZoneHintsOff means that a ready node has no zone, or one that no hint can name, so that kube-proxy follows none of the hints
	// that spec.trafficDistribution asks for. Have each node register its zone.
	ReasonZoneHintsOff = "ZoneHintsOff"

	// ReasonAllHeld means that every ready endpoint is that of a node which is silent and held. Degraded of the NodeRegistry says why,
	// and what to do.
	ReasonAllHeld = "AllHeld"

	// ReasonAddressShared means that several nodes give the same address and port, of which the EndpointSlices show one. The
	// message says who lost what. Nothing is wrong if they are one server, or one was replaced; else give each its own.
	ReasonAddressShared = "AddressShared"
)
