package v1alpha1

const (
	// LabelRegistry is the label that names the NodeRegistry that a DiscoveredNode comes from.
	LabelRegistry = "rollcall.dev/registry"

	// LabelOrigin is the label that tells who registered a DiscoveredNode: OriginExternal, or the name of the cluster whose
	// PodRegistration did.
	LabelOrigin = "rollcall.dev/origin"

	// OriginExternal is the origin of a node that registered itself.
	OriginExternal = "external"

	// AnnotationNodeSelector on a Service without a selector makes Rollcall write the Service's EndpointSlices. Its value
	// is a label selector over the DiscoveredNodes of the Service's namespace.
	AnnotationNodeSelector = "rollcall.dev/node-selector"

	// AnnotationTargetRef on a Service that Rollcall writes the EndpointSlices of makes their endpoints say which node they stand
	// for. Its one value is TargetRefDiscoveredNode: then targetRef of each endpoint names the node's DiscoveredNode. Without it
	// endpoints have no targetRef, since some consumers drop endpoints whose targetRef is of a kind that they do not know.
	AnnotationTargetRef = "rollcall.dev/target-ref"

	// TargetRefDiscoveredNode is the value of AnnotationTargetRef.
	TargetRefDiscoveredNode = "DiscoveredNode"

	// AnnotationAcceptExpiry on a NodeRegistry lets go the nodes that are kept although they are silent. A person sets it after
	// making sure that the machines really are gone. Its value must be status.held.since as it is printed there, in RFC 3339;
	// any other value lets nothing go and stays. Rollcall removes the annotation once it has let the nodes go.
	AnnotationAcceptExpiry = "rollcall.dev/accept-expiry"

	// AnnotationServiceLabels on an EndpointSlice of Rollcall names the labels that the slice has from its Service, so that those which
	// the Service loses go. All other labels are left alone. Rollcall sets it.
	AnnotationServiceLabels = "rollcall.dev/service-labels"

	// AnnotationLabels on a DiscoveredNode has the labels that follow from the record and spec.labels, as Rollcall wrote them last, so that
	// it can tell them from the labels of others. Rollcall writes it where the NodeRegistry has spec.labels.
	AnnotationLabels = "rollcall.dev/labels"

	// ManagedBy is the value of the label endpointslice.kubernetes.io/managed-by on the EndpointSlices of Rollcall.
	ManagedBy = "rollcall.dev"

	// FieldOwner is how the field manager under which Rollcall writes begins. A slash and the namespace of the installation follow, as
	// in rollcall-manager/rollcall-system, and then, if --leader-election-id was set to something else than the default, another slash
	// and that.
	FieldOwner = "rollcall-manager"

	// ReadinessGateRegistered is the readiness gate that keeps a pod from becoming Ready before it is in the bucket.
	ReadinessGateRegistered = "rollcall.dev/registered"
)
