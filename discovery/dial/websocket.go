package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coder/websocket"
)

// maxResponse bounds the response to the handshake of a WebSocket.
const maxResponse = 16 << 10

// webSocket turns the connection into that of a WebSocket. The request goes to "/"; a redirect is refused, and so is
// compression.
func (c *connecting) webSocket(ctx context.Context) error {
	if c.dialer.mustSecure(c.server) {
		if err := c.secure(ctx); err != nil {
			return err
		}
	}
	c.class = Handshake
	if err := c.until(ctx); err != nil {
		return err
	}
	headers, err := c.dialer.webSocketHeaders()
	if err != nil {
		return err
	}
	frames := newFrames(c.conn, c.server, &c.dialer.gate)
	transport := &http.Transport{
		DialContext:            func(context.Context, string, string) (net.Conn, error) { return frames, nil },
		MaxResponseHeaderBytes: maxResponse,
		DisableCompression:     true,
	}
	conn, _, err := websocket.Dial(ctx, "ws://"+c.server.address()+"/", &websocket.DialOptions{ //nolint:bodyclose // There is none to close.
		HTTPClient: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		HTTPHeader: headers,
	})
	if err != nil {
		return fmt.Errorf("the WebSocket was refused: %w", withoutRequest(err))
	}
	life, cancel := context.WithCancel(context.Background())
	c.conn = &webSocketConn{Conn: websocket.NetConn(life, conn, websocket.MessageBinary), below: frames, socket: conn, cancel: cancel}
	return nil
}

// withoutRequest returns the cause alone, in one wording: that of the request has more, and a peer's first bytes are its own.
func withoutRequest(err error) error {
	wrapped, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err
	}
	if strings.Contains(wrapped.Err.Error(), "malformed HTTP") {
		return errNoHTTP
	}
	return wrapped.Err
}

// webSocketHeaders returns the headers that the options of the connection ask for.
func (d *Dialer) webSocketHeaders() (http.Header, error) {
	if f := d.nats.WebSocketConnectionHeadersHandler; f != nil {
		return f()
	}
	return d.nats.WebSocketConnectionHeaders, nil
}

// webSocketConn is a WebSocket as a stream. It ends without the closing handshake, for which a server could have nats.go
// wait with its lock.
type webSocketConn struct {
	net.Conn

	below  *frames
	socket *websocket.Conn
	cancel context.CancelFunc
}

// Read reads what the frames carry.
func (c *webSocketConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.below.empty = 0
	}
	return n, err
}

func (c *webSocketConn) LocalAddr() net.Addr                 { return c.below.LocalAddr() }
func (c *webSocketConn) RemoteAddr() net.Addr                { return c.below.RemoteAddr() }
func (c *webSocketConn) SetDeadline(at time.Time) error      { return c.below.SetDeadline(at) }
func (c *webSocketConn) SetReadDeadline(at time.Time) error  { return c.below.SetReadDeadline(at) }
func (c *webSocketConn) SetWriteDeadline(at time.Time) error { return c.below.SetWriteDeadline(at) }

func (c *webSocketConn) Close() error {
	err := c.below.Close()
	c.cancel()
	// The connection is closed, so there is nothing left to fail.
	_ = c.socket.CloseNow()
	return err
}

// frames is what is below a WebSocket. Frames cost turns too, and a server may not send many that carry nothing. One goroutine
// reads at a time.
type frames struct {
	net.Conn

	server server
	empty  int    // bytes read since something was carried
	pacer  *pacer // of the stream as well
	closed chan struct{}
	close  sync.Once
}

func newFrames(conn net.Conn, s server, g *gate) *frames {
	f := &frames{Conn: conn, server: s, closed: make(chan struct{})}
	f.pacer = newPacer(processShare, g, f.closed)
	return f
}

const (
	// frameCost is how many bytes of frames count as a line.
	frameCost = 64
	// maxEmpty is how many bytes of frames may come that carry nothing: servers send a ping now and then.
	maxEmpty = 64 << 10
)

func (f *frames) Read(p []byte) (int, error) {
	f.pacer.end()
	if f.empty > maxEmpty {
		return 0, &Error{f.server.String(), Protocol, violation("more than %d bytes of frames that carry nothing", maxEmpty)}
	}
	n, err := f.Conn.Read(p)
	f.empty += n
	if n > 0 {
		if paced := f.pacer.spend(1+n/frameCost, time.Now()); paced != nil {
			return 0, paced
		}
	}
	return n, err
}

func (f *frames) Close() error {
	f.close.Do(func() { close(f.closed) })
	return f.Conn.Close()
}

// isEnd reports whether the other end has ended the connection.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
