package natsconn

import (
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// Pool holds the links. Registries with the same servers and the same identity share one.
type Pool struct {
	reader client.Reader
	clock  clock.Clock
	log    logr.Logger
	poll   time.Duration

	mu    sync.Mutex
	links map[string]*Link
}

// NewPool returns a Pool. The reader must not be a cache, which would list and keep every Secret of the cluster.
func NewPool(reader client.Reader, c clock.Clock, log logr.Logger) *Pool {
	return &Pool{reader: reader, clock: c, log: log, poll: pollInterval, links: map[string]*Link{}}
}

// Join returns the link for a connection of a namespace, which must be left again.
func (p *Pool) Join(namespace string, c rollcallv1alpha1.Connection, m Member) *Link {
	key := linkKey(namespace, c)
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.links[key]
	if l != nil {
		l.enter(m)
		return l
	}
	l = newLink(key, source{reader: p.reader, namespace: namespace, connection: c}, p.clock, p.log, p.poll)
	l.enter(m)
	l.start()
	p.links[key] = l
	return l
}

// Leave gives up a link, which ends with its last member.
func (p *Pool) Leave(l *Link, m Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.quit(m) == 0 {
		l.cancel()
		delete(p.links, l.key)
	}
}

// linkKey returns what is equal for connections that can be one: the servers, the inbox prefix, and where the identity
// comes from. Names of Secrets mean something in their namespace only.
func linkKey(namespace string, c rollcallv1alpha1.Connection) string {
	c.Servers = slices.Sorted(slices.Values(c.Servers))
	c.JetStreamDomain = ""
	if !refers(&c) {
		namespace = ""
	}
	key, err := json.Marshal(struct {
		Namespace  string
		Connection rollcallv1alpha1.Connection
	}{namespace, c})
	if err != nil {
		panic("natsconn: a connection is always JSON: " + err.Error())
	}
	return string(key)
}

// refers reports whether the connection names a Secret or ConfigMap.
func refers(c *rollcallv1alpha1.Connection) bool {
	auth := c.Auth != nil && *c.Auth != rollcallv1alpha1.Auth{}
	return auth || (c.TLS != nil && (c.TLS.CA != nil || c.TLS.ClientCertificate != nil))
}
