package natsconn

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery/dial"
)

// Options are what is the same for all connections.
type Options struct {
	// Reader reads Secrets and ConfigMaps. It must not be a cache, which would list and keep every Secret of the cluster.
	Reader client.Reader
	Clock  clock.Clock
	Log    logr.Logger
	// Policy decides which servers may be dialled; nil: all.
	Policy *dial.Policy
	// Resolver looks up the names of servers; nil: that of the system.
	Resolver dial.Resolver
	// Interval bounds how long the Secrets are not read; 0: 10 minutes.
	Interval time.Duration
}

// Pool holds the Links. NodeRegistries with the same servers and the same identity share one.
type Pool struct {
	o Options

	mu    sync.Mutex
	links map[string]*Link
}

// NewPool returns a Pool.
func NewPool(o Options) *Pool { return &Pool{o: o, links: map[string]*Link{}} }

// Join returns the Link for a connection of a namespace, which must be left again.
func (p *Pool) Join(namespace string, c rollcallv1alpha1.Connection, m Member) *Link {
	key := linkKey(namespace, c)
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.links[key]
	if l == nil {
		l = p.start(key, namespace, c)
		p.links[key] = l
	}
	l.view.enter(m)
	return l
}

// start returns a Link that connects.
func (p *Pool) start(key, namespace string, c rollcallv1alpha1.Connection) *Link {
	ctx, cancel := context.WithCancel(context.Background())
	lp := &loop{clock: p.o.Clock, state: State{Since: p.o.Clock.Now()}}
	lp.state.Trouble = Classify(nil, false, false)
	lp.link = &Link{
		key: key, log: p.o.Log, view: newView(lp.state), events: make(chan event, maxEvents), inbox: inboxPrefix(c),
		over: make(chan struct{}), cancel: cancel,
	}
	lp.connector = &connector{link: lp.link, o: &p.o, source: source{reader: p.o.Reader, namespace: namespace, connection: c}}
	go lp.run(ctx)
	return lp.link
}

func inboxPrefix(c rollcallv1alpha1.Connection) string {
	if c.InboxPrefix != "" {
		return c.InboxPrefix
	}
	return "_INBOX"
}

// Leave gives up a Link, which ends with its last member.
func (p *Pool) Leave(l *Link, m Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.view.quit(m) == 0 {
		l.cancel()
		delete(p.links, l.key)
	}
}

// linkKey returns what is equal for connections that can be one: the servers, the inbox prefix, and where the identity
// comes from. Names of Secrets mean something in their namespace only.
func linkKey(namespace string, c rollcallv1alpha1.Connection) string {
	c.Servers = slices.Sorted(slices.Values(c.Servers))
	c.JetStreamDomain, c.APIPrefix = "", ""
	if !refers(&c) {
		namespace, c.OnSecretLoss = "", ""
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
	return authenticates(c) || (c.TLS != nil && (c.TLS.CA != nil || c.TLS.ClientCertificate != nil))
}

// authenticates reports whether the connection gives a login.
func authenticates(c *rollcallv1alpha1.Connection) bool {
	return c.Auth != nil && *c.Auth != rollcallv1alpha1.Auth{}
}
