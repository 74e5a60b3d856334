package roster

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/rollcall-dev/rollcall/discovery"
)

// ID names a claim: a pod, and the PodRegistration that wants it registered.
type ID struct {
	Registration types.NamespacedName
	UID          types.UID
}

// Claim is the wish to have a pod registered.
type Claim struct {
	ID
	// Pod is the pod's name.
	Pod types.NamespacedName
	// Created is when the pod was created: of two that want the same key the older one gets it, unless the other has it.
	Created time.Time
	// Key is the key, prefix included.
	Key string
	// Record is what is written. Its owner must be Options.Cluster and the pod's UID.
	Record discovery.Template
	// Interval is the time between two heartbeats, greater than 0.
	Interval time.Duration
}

func (c *Claim) equal(o *Claim) bool {
	return c.ID == o.ID && c.Key == o.Key && c.Interval == o.Interval && c.Record.Equal(o.Record)
}

// older orders claims for the same key.
func (c *Claim) older(o *Claim) bool {
	if !c.Created.Equal(o.Created) {
		return c.Created.Before(o.Created)
	}
	if c.UID != o.UID {
		return c.UID < o.UID
	}
	return c.Registration.Name < o.Registration.Name
}

// Standing says whose an entry is that carries this cluster's name.
type Standing uint8

const (
	// Unknown means that nothing here knows its owner: it may be another cluster's of the same name.
	Unknown Standing = iota
	// Ours means that the owner, or what registered it, belongs to this registry.
	Ours
	// Elsewhere means that it is this cluster's, but not this registry's to touch: what registered it is for another
	// registry on the same bucket, or can't be used at the moment.
	Elsewhere
)

// Phase says how far a claim has come.
type Phase uint8

const (
	// Waiting means that nothing has been decided: the bucket can't be read or written yet.
	Waiting Phase = iota
	// Registered means that the entry is in the bucket.
	Registered
	// Conflict means that somebody else has the key.
	Conflict
	// Failed means that the entry can't be written.
	Failed
)

// State is what became of a claim.
type State struct {
	Phase Phase
	// Live says that the pod's entry is in the bucket, as far as is known, whatever came of the last write.
	Live bool
	// Impostor says that the conflict is with an entry that carries this cluster's name and is not this cluster's.
	Impostor bool
	// Message says what stands in the way and what to do; empty if nothing does.
	Message string
}
