package connections

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// listen serves connections, each until its function returns, and returns the address.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				serve(c)
			}()
		}
	}()
	return listener.Addr().String()
}

// Of several servers that fail in several ways the reason is the same at each attempt, whichever comes first: the one that
// somebody has to act upon.
func TestTheReasonOfSeveralServersStays(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *server.Options) { o.Authorization = "the-right-token" })
	r.secret("login", basic("the-wrong-password"))
	for name, other := range map[string]string{"refused": "nats://127.0.0.1:1", "outside": "nats://192.0.2.1:4222"} {
		r.registry(name, userPassword("login"), withServers(other, r.nats.URL()))
	}
	r.registry("silent", userPassword("login"), withServers(r.nats.URL(), "nats://"+listen(t, func(c net.Conn) {
		_, _ = fmt.Fprint(c, "INFO {\"server_id\":\"X\",\"max_payload\":1048576}\r\n")
	})))
	for _, name := range []string{"refused", "outside", "silent"} {
		r.await(name, "Connected", "False/AuthenticationFailed")
	}
	r.Throughout(8*time.Second, "the reason that was told", func() bool {
		for _, name := range []string{"refused", "outside", "silent"} {
			if got, message := r.condition(name, "Connected"); got != "False/AuthenticationFailed" {
				t.Logf("%s is %s: %s", name, got, message)
				return false
			}
		}
		return true
	})
}

// A server that says INFO and then nothing more has not answered, and is named.
func TestAServerThatDoesNotLetIn(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	hello := "INFO {\"server_id\":\"X\",\"max_payload\":1048576}\r\n"
	silent := listen(t, func(c net.Conn) {
		_, _ = fmt.Fprint(c, hello)
		_, _ = io.Copy(io.Discard, c)
	})
	closes := listen(t, func(c net.Conn) { _, _ = fmt.Fprint(c, hello) })
	r.registry("silent", withServers("nats://"+silent))
	r.registry("closes", withServers("nats://"+closes))
	for _, name := range []string{"silent", "closes"} {
		r.await(name, "Ready", "False/ServerUnreachable", "nats://127.0.0.1", "did not let the client in")
	}
}

// What is no WebSocket is told in one wording, without what the peer has said, and a hint is given where it may help.
func TestWrongSchemes(t *testing.T) {
	t.Parallel()
	mine := newAuthority(t)
	r := newRig(t, func(o *server.Options) {
		o.Websocket = server.WebsocketOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoTLS: true}
	})
	r.secret("ca", map[string]string{"ca.crt": mine.pem})
	web := httptest.NewUnstartedServer(http.NotFoundHandler())
	web.TLS = mine.server("127.0.0.1", false)
	web.StartTLS()
	t.Cleanup(web.Close)
	r.registry("ws", withServers("ws://127.0.0.1:"+r.nats.Port()))
	r.registry("nats", withServers("nats://127.0.0.1:"+webSocketPort(t, r.nats)))
	r.registry("https", withServers("tls://"+web.Listener.Addr().String()), tlsSpec(&rollcallv1alpha1.TLS{CA: secretCA("ca"), HandshakeFirst: true}))
	r.await("ws", "Ready", "False/WebSocketFailed", "the answer is no HTTP")
	if _, message := r.condition("ws", "Ready"); strings.Contains(message, "server_id") {
		t.Errorf("what the server has said is in the message: %s", message)
	}
	r.await("nats", "Ready", "False/ServerUnreachable", "sent no INFO in time", "WebSocket")
	r.await("https", "Ready", "False/ServerUnreachable", "sent no INFO in time")
	if _, message := r.condition("https", "Ready"); strings.Contains(message, "may expect") {
		t.Errorf("the handshake came first, and the message says: %s", message)
	}
}

func webSocketPort(t *testing.T, s *natstest.Server) string {
	t.Helper()
	varz, err := s.NATS().Varz(nil)
	must(t, err)
	return strconv.Itoa(varz.Websocket.Port)
}
