package mirror

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// BenchmarkHeartbeat has nodes say what they said before, which is what a Mirror does nearly all the time.
func BenchmarkHeartbeat(b *testing.B) {
	for _, count := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("%dNodes", count), func(b *testing.B) {
			m := newMirror(types.NamespacedName{Namespace: "ns", Name: "reg"}, testPolicy, nil, nil, clock.RealClock{}, nobody{})
			beat := func(revision int) {
				n := revision % count
				m.Entry(kv.Entry{
					Key: "node." + id(n), Revision: uint64(revision + 1), Written: time.Now(),
					Value: fmt.Appendf(nil, `{"NodeId":"n%d","Endpoint":"http://10.0.%d.%d:80","Zone":"a","Load":0.5,"LastSeen":"2026-01-01T00:00:00Z","Metadata":{"role":"web","rack":"7"}}`, n, n/250, n%250+1),
				})
				if n%batchSize == 0 {
					m.readSome(b.Context())
				}
			}
			m.Listing(kv.CauseStart)
			for n := range count {
				beat(n)
			}
			m.Synced(kv.Bucket{Name: "b", TTL: time.Hour})
			for read := 1; read > 0; {
				read, _ = m.readSome(b.Context())
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := range b.N {
				beat(count + n)
			}
		})
	}
}
