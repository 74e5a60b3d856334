package kv

// boundary tells when a listing is complete. A consumer that delivers the last message of every subject announces no
// end on which one may rely: what it was to deliver may be overwritten meanwhile, and then arrives later, in the tail.
//
// Hence marks. The first is the stream's last sequence after the consumer was created; once the consumer has come there,
// its initial list is used up. Every further mark is the stream's last sequence, asked for once the consumer has come to
// the mark before. At the moment of such an answer, a key whose last message isn't beyond the consumer's position has
// been delivered; the other keys have theirs between that position and the mark. If every message in between arrives,
// every key that was live at the beginning is in. If one is missing, it may have been overwritten before the consumer
// came to it, and another mark is needed.
type boundary struct {
	mark   uint64
	rounds int
	stage  stage
}

type stage uint8

const (
	underway stage = iota // on the way to the mark
	asking                // there; the next mark is being asked for
	complete
)

// maxRounds bounds the marks. In a bucket that others write to as well, messages that aren't delivered are the rule, and
// can't be told from those that vanished. A key that is still missing then would have to have been overwritten just
// ahead of the consumer in every round, which take about a millisecond each.
const maxRounds = 8

// step is what a boundary wants next.
type step uint8

const (
	wait   step = iota
	ask         // ask for the next mark
	finish      // the listing is complete
)

// reached notes how far the consumer has come, and up to where without a missing message since the mark was asked for.
// It returns ask once for every mark, and finish once.
func (b *boundary) reached(position, unbroken uint64) step {
	switch {
	case b.stage != underway || position < b.mark:
		return wait
	case b.rounds > 0 && unbroken >= b.mark || b.rounds >= maxRounds:
		b.stage = complete
		return finish
	}
	b.stage = asking
	return ask
}

// answered notes the next mark.
func (b *boundary) answered(mark uint64) {
	b.mark, b.stage = mark, underway
	b.rounds++
}
