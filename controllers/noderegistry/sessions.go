package noderegistry

import (
	"context"
	"reflect"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/natsconn"
)

// sessions holds the sessions of all registries. It is safe for concurrent use for different registries.
type sessions struct {
	clock   clock.Clock
	log     logr.Logger
	changed func(types.NamespacedName)
	pool    *natsconn.Pool
	// follower is nil if there is none.
	follower Follower

	mu   sync.Mutex
	all  map[types.NamespacedName]*session
	over bool
}

// Start implements manager.Runnable: it stops all sessions when the manager ends, or this one is no longer the leader.
func (s *sessions) Start(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	all := s.all
	s.all, s.over = nil, true
	s.mu.Unlock()
	// Each may have to wait for an answer of its server.
	var stopping sync.WaitGroup
	for _, session := range all {
		stopping.Go(session.stop)
	}
	stopping.Wait()
	return nil
}

// ensure makes sure that the registry has a session for that plan.
func (s *sessions) ensure(name types.NamespacedName, p plan, m *mirror.Mirror) {
	if old := s.get(name); old != nil {
		if reflect.DeepEqual(old.plan, p) {
			return
		}
		s.leave(name, &p)
		s.stop(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	if s.all == nil {
		s.all = map[types.NamespacedName]*session{}
	}
	s.all[name] = &session{
		name: name, plan: p, pool: s.pool, mirror: m, follower: s.follower, clock: s.clock,
		log:     s.log.WithValues("registry", name.String()),
		changed: func() { s.changed(name) },
	}
	s.all[name].start()
}

// stop ends the registry's session, if it has one.
func (s *sessions) stop(name types.NamespacedName) {
	s.mu.Lock()
	session := s.all[name]
	delete(s.all, name)
	s.mu.Unlock()
	if session != nil {
		session.stop()
	}
}

// get returns the registry's session, nil if it has none.
func (s *sessions) get(name types.NamespacedName) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[name]
}

// Connections returns for each registry that is to have a connection whether it is up.
func (c *Controller) Connections() map[types.NamespacedName]bool { return c.sessions.connections() }

// connections returns which registries have a session, and whether its connection is up.
func (s *sessions) connections() map[types.NamespacedName]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	up := make(map[types.NamespacedName]bool, len(s.all))
	for name, session := range s.all {
		up[name] = session.link.State().Connected
	}
	return up
}
