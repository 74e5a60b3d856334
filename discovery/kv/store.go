package kv

// Refusal is why a store takes no writes. The words are those of a NodeRegistry's status.held.reason.
type Refusal string

// The refusals.
const (
	// TakesWrites: the store takes writes, as far as is known.
	TakesWrites Refusal = ""
	// StoreFull: the bucket, the account or the server has come to a limit.
	StoreFull Refusal = "StoreFull"
	// Sealed: the stream was sealed for ever.
	Sealed Refusal = "Sealed"
	// MirrorCut: the bucket mirrors another one, or has it as a source, and hears nothing from it.
	MirrorCut Refusal = "MirrorCut"
	// NobodyWrites: the stream no longer has the subjects of the bucket's keys.
	NobodyWrites Refusal = "NobodyWrites"
)

// Store is whether a bucket takes writes. Where it doesn't, no node can heartbeat, so its silence means nothing.
type Store struct {
	// Refusal is why it takes none.
	Refusal Refusal
	// Detail is one sentence for people.
	Detail string
	// Partial says that only some keys are concerned; the Watcher withholds [Sink.Silent] for those.
	Partial bool
}

// stands reports whether no key can be written.
func (s Store) stands() bool { return s.Refusal != TakesWrites && !s.Partial }
