package faults

import (
	"context"
	"time"
)

// writing is how the nodes of a fleet write themselves down; the zero value is how they usually do.
type writing struct {
	// record makes the record of a node; nil: fleet.value does. Probes write what they always do, or nobody would see them.
	record func(id, address string) []byte
	// prefixes are what the keys of each node begin with; none: keyPrefix.
	prefixes []string
}

// writes lets the nodes write in another way from their next heartbeat on.
func (f *fleet) writes(how writing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.how = how
}

func (f *fleet) writing() writing {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.how
}

// written returns what a node writes now.
func (f *fleet) written(id, address string) []byte {
	if how := f.writing(); how.record != nil && !probes(id) {
		return how.record(id, address)
	}
	return f.value(id, address)
}

// subjects are where the records of a node go.
func (f *fleet) subjects(id string) []string {
	prefixes := f.writing().prefixes
	if len(prefixes) == 0 {
		return []string{subject(id)}
	}
	var all []string
	for _, prefix := range prefixes {
		all = append(all, "$KV."+bucketName+"."+prefix+id)
	}
	return all
}

func (f *fleet) publish(ctx context.Context, id string, value []byte) error {
	for _, s := range f.subjects(id) {
		if _, err := f.js.Publish(ctx, s, value); err != nil {
			return err
		}
	}
	return nil
}

// drain ends a node's traffic as one does that is about to stop: it says so, and is still there.
func (f *fleet) drain(id string) error {
	m := f.halt(id)
	node := f.node(m.id, m.address)
	node.Draining = true
	sent := time.Now()
	_, err := f.persist(f.ctx, func(ctx context.Context) error { return f.publish(ctx, id, encoded(node)) })
	f.bury(m, unregistered, sent, time.Now())
	return err
}
