package natsconn

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// shelf is a client.Reader of Secrets that a test changes.
type shelf struct {
	mu      sync.Mutex
	secrets map[client.ObjectKey]map[string]string
	away    error
	gets    int
}

func (s *shelf) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	secret, ok := o.(*corev1.Secret)
	data, found := s.secrets[key]
	switch {
	case !ok:
		return errors.New("only Secrets are expected")
	case s.away != nil:
		return s.away
	case !found:
		return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, key.Name)
	}
	secret.Data = map[string][]byte{}
	for key, value := range data {
		secret.Data[key] = []byte(value)
	}
	return nil
}

func (s *shelf) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("nothing may be listed")
}

// put replaces the Secret login of the namespace fleet; nil removes it.
func (s *shelf) put(data map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := client.ObjectKey{Namespace: "fleet", Name: "login"}
	if s.secrets = map[client.ObjectKey]map[string]string{}; data != nil {
		s.secrets[key] = maps.Clone(data)
	}
}

func (s *shelf) leave(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = err
}

// asked counts the calls of Get.
func (s *shelf) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gets
}

// guest is a member.
type guest struct {
	name string
	mu   sync.Mutex
	met  []Denial
}

func (g *guest) Bucket() string     { return g.name }
func (g *guest) ConnectionChanged() {}
func (g *guest) Deny(d Denial) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.met = append(g.met, d)
}

func (g *guest) denied() []Denial {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.met)
}

// bench is a server with two users and an NKey, and a pool that looks at its Secrets all the time.
type bench struct {
	*testing.T
	server *natstest.Server
	shelf  *shelf
	pool   *Pool
}

func newBench(t *testing.T, configure func(*server.Options)) *bench {
	t.Helper()
	b := &bench{T: t, shelf: &shelf{}}
	b.server = natstest.Start(t, func(o *natstest.Options) { o.Configure = configure })
	b.pool = NewPool(Options{Reader: b.shelf, Clock: clock.RealClock{}, Log: logr.Discard(), Interval: 20 * time.Millisecond})
	return b
}

func twoUsers(o *server.Options) {
	o.Users = []*server.User{{Username: "first", Password: "p"}, {Username: "second", Password: "p"}}
}

func login(user, password string) map[string]string {
	return map[string]string{"username": user, "password": password}
}

// join joins a link with the Secret login, and leaves it when the test ends.
func (b *bench) Join(auth *rollcallv1alpha1.Auth) *Link {
	b.Helper()
	g := &guest{name: "joined"}
	l := b.pool.Join("fleet", rollcallv1alpha1.Connection{Servers: []string{b.server.URL()}, Auth: auth}, g)
	b.Cleanup(func() {
		b.pool.Leave(l, g)
		b.within("all connections to be closed", func() bool { return b.server.NATS().NumClients() == 0 })
	})
	return l
}

func withPassword() *rollcallv1alpha1.Auth {
	return &rollcallv1alpha1.Auth{UserPassword: &rollcallv1alpha1.SecretReference{Name: "login"}}
}

func (b *bench) within(what string, holds func() bool) {
	b.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for began := time.Now(); !holds(); <-ticker.C {
		if time.Since(began) > 20*time.Second {
			b.Fatalf("waited in vain for %s", what)
		}
	}
}

func (b *bench) Acquire(l *Link) *Conn {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
	defer cancel()
	c, err := l.Acquire(ctx)
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func (b *bench) users() []string {
	b.Helper()
	connz, err := b.server.NATS().Connz(&server.ConnzOptions{Username: true})
	if err != nil {
		b.Fatal(err)
	}
	var users []string
	for _, c := range connz.Conns {
		users = append(users, c.AuthorizedUser)
	}
	slices.Sort(users)
	return users
}

// The new connection is there before the old one goes, and that goes only when nobody uses it any more.
func TestAChangedSecretReplacesTheConnection(t *testing.T) {
	b := newBench(t, twoUsers)
	b.shelf.put(login("first", "p"))
	l := b.Join(withPassword())
	first := b.Acquire(l)
	b.shelf.put(login("second", "p"))
	<-first.replaced.Done()
	if !l.State().Connected || !first.nats.IsConnected() {
		t.Error("there was a time without a connection")
	}
	if got := b.users(); !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("the users are %v, want both", got)
	}
	second := b.Acquire(l)
	defer second.Release()
	first.Release()
	b.within("the old connection to go", func() bool { return slices.Equal(b.users(), []string{"second"}) })
}

func TestAChangedNKeyReplacesTheConnection(t *testing.T) {
	var seeds, public []string
	for range 2 {
		keys, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		seed, _ := keys.Seed()
		key, _ := keys.PublicKey()
		seeds, public = append(seeds, string(seed)), append(public, key)
	}
	b := newBench(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public[0]}, {Nkey: public[1]}} })
	b.shelf.put(map[string]string{"seed": seeds[0]})
	l := b.Join(&rollcallv1alpha1.Auth{NKey: &rollcallv1alpha1.SecretKeyReference{Name: "login", Key: "seed"}})
	b.within("the first NKey", func() bool { return slices.Equal(b.users(), public[:1]) })
	b.shelf.put(map[string]string{"seed": seeds[1]})
	b.within("the second NKey", func() bool { return slices.Equal(b.users(), public[1:]) })
	if !l.State().Connected {
		t.Error("the link is not connected")
	}
}

// Whatever becomes of the Secret, the connection that stands is kept, and the fault is told.
func TestAWrongSecretBreaksNothing(t *testing.T) {
	b := newBench(t, twoUsers)
	b.shelf.put(login("first", "p"))
	l := b.Join(withPassword())
	c := b.Acquire(l)
	defer c.Release()
	fault := func() string {
		state := l.State()
		if !state.Connected || c.nats.Stats().Reconnects > 0 || c.replaced.Err() != nil {
			t.Fatal("the connection was given up")
		}
		return state.Trouble.Reason
	}
	for _, step := range []struct {
		data map[string]string
		want string
	}{
		{login("first", "wrong"), rollcallv1alpha1.ReasonAuthenticationFailed},
		{login("", ""), rollcallv1alpha1.ReasonSecretInvalid},
		{map[string]string{"username": "first"}, rollcallv1alpha1.ReasonSecretNotFound},
		{nil, rollcallv1alpha1.ReasonSecretNotFound},
	} {
		b.shelf.put(step.data)
		b.within(step.want, func() bool { return fault() == step.want })
	}
	b.shelf.put(login("first", "p"))
	b.within("the fault to be over", func() bool { return l.State().Trouble == (Trouble{}) })
	fault()

	// An API server that is away says nothing about the Secret.
	b.shelf.leave(errors.New("the API server is away"))
	b.shelf.put(login("second", "p"))
	asked := b.shelf.asked()
	b.within("some looks at the Secret", func() bool {
		fault()
		if told := l.State().Trouble; told != (Trouble{}) {
			t.Fatalf("the state says %v", told)
		}
		return b.shelf.asked() > asked+5
	})
	b.shelf.leave(nil)
	<-c.replaced.Done()
}

func TestAnAPIServerThatIsAwayIsTold(t *testing.T) {
	b := newBench(t, twoUsers)
	b.shelf.leave(errors.New("the API server is away"))
	l := b.Join(withPassword())
	b.within("the reason", func() bool {
		state := l.State()
		return state.Trouble.Reason == rollcallv1alpha1.ReasonSecretUnreadable
	})
	b.shelf.put(login("first", "p"))
	b.shelf.leave(nil)
	b.within("the connection", func() bool { return l.State().Connected })
}

// A server that is awaited is tried often, and the API server is not asked for the Secret each time.
func TestAServerIsAwaitedWithTheSecretInHand(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var attempts atomic.Int32
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			attempts.Add(1)
			_ = c.Close()
		}
	}()
	b := newBench(t, twoUsers)
	b.shelf.put(login("first", "p"))
	g := &guest{name: "waiting"}
	l := b.pool.Join("fleet", rollcallv1alpha1.Connection{Servers: []string{"nats://" + listener.Addr().String()}, Auth: withPassword()}, g)
	defer b.pool.Leave(l, g)
	b.within("several attempts", func() bool { return attempts.Load() >= 8 })
	if asked, tried := b.shelf.asked(), int(attempts.Load()); asked > tried/2 {
		t.Errorf("the Secret was read %d times for %d attempts", asked, tried)
	}
}

// Some errors make the client close the connection for good.
func TestAClosedConnectionIsReplaced(t *testing.T) {
	b := newBench(t, twoUsers)
	b.shelf.put(login("first", "p"))
	l := b.Join(withPassword())
	first := b.Acquire(l)
	first.nats.Close()
	<-first.replaced.Done()
	first.Release()
	second := b.Acquire(l)
	defer second.Release()
	if second == first || !second.nats.IsConnected() {
		t.Error("there is no other connection")
	}
}

// A peer that vanished without a word is noticed before the client's own pings would; one that is there is left alone.
func TestAPeerThatIsGoneIsLeft(t *testing.T) {
	b := newBench(t, nil)
	proxy := natstest.StartProxy(t, b.server)
	g := &guest{name: "joined"}
	l := b.pool.Join("fleet", rollcallv1alpha1.Connection{Servers: []string{proxy.URL()}}, g)
	defer b.pool.Leave(l, g)
	c := b.Acquire(l)
	defer c.Release()
	if c.gone(t.Context()) {
		t.Error("a peer that is there counts as gone")
	}
	proxy.Strand()
	began := time.Now()
	l.CheckLiveness(c)
	b.within("another connection", func() bool { return c.nats.Stats().Reconnects > 0 && c.nats.IsConnected() })
	if took, pings := time.Since(began), time.Duration(c.nats.Opts.MaxPingsOut)*c.nats.Opts.PingInterval; took > pings {
		t.Errorf("it took %s, as long as the client's own pings, %s", took, pings)
	}
}

// A login that is refused is tried again by itself, with what the Secret holds.
func TestARefusedLoginIsTriedForEver(t *testing.T) {
	user := &server.User{Username: "first", Password: "p"}
	b := newBench(t, func(o *server.Options) { o.Users = []*server.User{user} })
	b.shelf.put(login("first", "p"))
	l := b.Join(withPassword())
	c := b.Acquire(l)
	defer c.Release()
	user.Password = "other"
	if err := b.server.Restart(); err != nil {
		t.Fatal(err)
	}
	b.within("the refusal", func() bool {
		state := l.State()
		return !state.Connected && state.Trouble.Reason == rollcallv1alpha1.ReasonAuthenticationFailed
	})
	user.Password = "p"
	if err := b.server.Restart(); err != nil {
		t.Fatal(err)
	}
	b.within("the connection", func() bool { return l.State().Connected })
}

func TestDenialsReachTheSessionsThatTheyConcern(t *testing.T) {
	b := newBench(t, twoUsers)
	b.shelf.put(login("first", "p"))
	l := b.Join(withPassword())
	one, other := &guest{name: "one"}, &guest{name: "other"}
	l.view.enter(one)
	l.view.enter(other)
	defer l.view.quit(one)
	defer l.view.quit(other)
	c := b.Acquire(l)
	defer c.Release()
	l.heard(c, violationOf(`Publish to "$JS.API.STREAM.INFO.KV_one"`))
	l.heard(c, violationOf(`Publish to "$JS.API.INFO"`))
	b.within("the denials", func() bool { return len(one.denied()) == 2 && len(other.denied()) == 1 })
	if got := one.denied(); len(got) != 2 || got[0].Bucket != "one" {
		t.Errorf("one met %v", got)
	}
	if got := other.denied(); len(got) != 1 || got[0].Subject != "$JS.API.INFO" {
		t.Errorf("the other met %v", got)
	}
}

func TestLinkKey(t *testing.T) {
	base := func() rollcallv1alpha1.Connection {
		return rollcallv1alpha1.Connection{Servers: []string{"nats://a", "nats://b"}}
	}
	secret := base()
	secret.Auth = withPassword()
	reordered := rollcallv1alpha1.Connection{Servers: []string{"nats://b", "nats://a"}, JetStreamDomain: "hub"}
	inbox := base()
	inbox.InboxPrefix = "_INBOX_x"
	ca := base()
	ca.TLS = &rollcallv1alpha1.TLS{CA: &rollcallv1alpha1.CAReference{Kind: rollcallv1alpha1.CASecret, Name: "ca", Key: "ca.crt"}}
	named := base()
	named.TLS = &rollcallv1alpha1.TLS{ServerName: "nats.example.com"}
	for _, test := range []struct {
		what       string
		namespace  string
		a, b       rollcallv1alpha1.Connection
		namespaceB string
		same       bool
	}{
		{"the order of the servers and the domain", "x", base(), reordered, "x", true},
		{"another namespace, without a Secret", "x", base(), base(), "y", true},
		{"another namespace, with a name only", "x", named, named, "y", true},
		{"another namespace, with a Secret", "x", secret, secret, "y", false},
		{"another namespace, with a CA", "x", ca, ca, "y", false},
		{"a Secret", "x", base(), secret, "x", false},
		{"an inbox prefix", "x", base(), inbox, "x", false},
		{"TLS", "x", base(), named, "x", false},
	} {
		if same := linkKey(test.namespace, test.a) == linkKey(test.namespaceB, test.b); same != test.same {
			t.Errorf("%s: the same is %t, want %t", test.what, same, test.same)
		}
	}
}
