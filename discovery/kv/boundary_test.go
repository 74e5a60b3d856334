package kv

import (
	"math/rand/v2"
	"testing"
)

// stream is a model of a stream that keeps one message a key, and of a consumer that reads it from the start.
type stream struct {
	byKey    map[int]uint64
	keys     map[uint64]int
	last     uint64
	position uint64
}

func (s *stream) write(key int) {
	if old, ok := s.byKey[key]; ok {
		delete(s.keys, old)
	}
	s.last++
	s.byKey[key], s.keys[s.last] = s.last, key
}

// deliver hands the next message to the consumer's reader and returns its key. Without a next one, the server's heartbeat
// tells so.
func (s *stream) deliver(t *track) (key int, ok bool) {
	for s.position < s.last {
		s.position++
		if key, ok := s.keys[s.position]; ok {
			t.message(t.sequence+1, s.position)
			return key, true
		}
	}
	t.heartbeat(control{consumer: t.sequence, stream: s.position})
	return 0, false
}

// Whatever writers do, and although the bucket keeps no older messages, every key is in when the boundary is reached.
func TestBoundaryMissesNoKey(t *testing.T) {
	const n = 50
	for seed := range uint64(2000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		s := &stream{byKey: map[int]uint64{}, keys: map[uint64]int{}}
		for key := range n {
			s.write(key)
		}
		writes := func(most int) {
			for range rnd.IntN(most + 1) {
				s.write(rnd.IntN(n))
			}
		}
		writes(3)
		b := boundary{mark: s.last}
		var read track
		in := map[int]bool{}
		for b.stage != complete {
			writes(2)
			if key, ok := s.deliver(&read); ok {
				in[key] = true
			}
			if b.reached(read.position, read.unbroken) == ask {
				read.begin()
				writes(3)
				b.answered(s.last)
			}
		}
		if len(in) != n {
			t.Fatalf("seed %d: %d of %d keys are in at the boundary, after %d rounds", seed, len(in), n, b.rounds)
		}
	}
}

func TestBoundarySteps(t *testing.T) {
	b := boundary{mark: 5}
	for i, s := range []struct {
		position, unbroken uint64
		want               step
		mark               uint64 // the answer
	}{
		{4, 0, wait, 0},
		{5, 5, ask, 0}, // the first mark only says that the list is used up
		{6, 5, wait, 7},
		{6, 6, wait, 0},
		{8, 6, ask, 9}, // 7 is missing
		{9, 9, finish, 0},
		{10, 10, wait, 0},
	} {
		if got := b.reached(s.position, s.unbroken); got != s.want {
			t.Errorf("step %d: got %d, want %d", i, got, s.want)
		}
		if s.mark > 0 {
			b.answered(s.mark)
		}
	}
}

func TestBoundaryEndsAmongForeignKeys(t *testing.T) {
	var b boundary
	asked := 0
	for position := uint64(0); b.reached(position, 0) != finish; position++ {
		asked++
		b.answered(position + 1)
	}
	if asked != maxRounds {
		t.Errorf("asked %d times, want %d", asked, maxRounds)
	}
}
