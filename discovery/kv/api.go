package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/discovery/internal/backoff"
)

// defaultAPITimeout bounds one request to JetStream. A healthy server answers within milliseconds; one that is electing
// a leader doesn't answer at all, and asking again finds the new leader sooner than waiting.
const defaultAPITimeout = 2 * time.Second

// The errors of requests to JetStream.
var (
	// ErrNoAnswer: the server didn't answer in time. It has no leader for the bucket, or refuses the request: a server
	// reports a missing permission to the connection's error handler only.
	ErrNoAnswer = errors.New("no answer from jetstream")
	// ErrUnavailable: the server answers that JetStream, or the bucket, isn't available.
	ErrUnavailable = errors.New("jetstream is not available")

	errMessageNotFound = errors.New("message not found")
)

// The error codes of JetStream that nats.go has no name for.
const (
	codeClusterNotAvailable = 10008
	codeStreamOffline       = 10118
	codeStreamOfflineReason = 10194
)

// api are the requests to JetStream for one bucket. The client's own calls would do for some of them, but read messages
// from any replica, which may lag behind: these all reach the stream's leader. An api is safe for concurrent use.
type api struct {
	nc      *nats.Conn
	prefix  string
	bucket  string
	timeout time.Duration
}

// apiPrefix returns what the subjects of the API begin with, in a domain or with a prefix of another account.
func apiPrefix(domain, prefix string) string {
	switch {
	case prefix != "":
		return strings.TrimSuffix(prefix, ".") + "."
	case domain != "":
		return "$JS." + domain + ".API."
	}
	return jetstream.DefaultAPIPrefix
}

func newAPI(nc *nats.Conn, prefix, bucket string, timeout time.Duration) *api {
	return &api{nc: nc, prefix: prefix, bucket: bucket, timeout: timeout}
}

func newJetStream(nc *nats.Conn, prefix string) (jetstream.JetStream, error) {
	if prefix == jetstream.DefaultAPIPrefix {
		return jetstream.New(nc)
	}
	return jetstream.NewWithAPIPrefix(nc, strings.TrimSuffix(prefix, "."))
}

func (a *api) stream() string { return "KV_" + a.bucket }

// sender sends a request and returns its answer.
type sender func(ctx context.Context, subject string, payload []byte) (*nats.Msg, error)

// request sends one request and decodes the answer into out, which may be nil.
func (a *api) request(ctx context.Context, operation string, in, out any) error {
	return a.requestBy(ctx, a.nc.RequestWithContext, operation, in, out)
}

func (a *api) requestBy(ctx context.Context, send sender, operation string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	var payload []byte
	if in != nil {
		var err error
		if payload, err = json.Marshal(in); err != nil {
			return err
		}
	}
	msg, err := send(ctx, a.prefix+operation, payload)
	if err != nil {
		return fmt.Errorf("requesting %s: %w", a.prefix+operation, classify(err))
	}
	return a.decode(operation, msg.Data, out)
}

// decode reads the answer to a request into out, which may be nil.
func (a *api) decode(operation string, data []byte, out any) error {
	var failure struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(data, &failure); err != nil {
		return fmt.Errorf("reading the answer to %s: %w", a.prefix+operation, err)
	}
	if failure.Error != nil {
		return fmt.Errorf("requesting %s: %w", a.prefix+operation, classify(failure.Error))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}

// askAgain is after how long at most a question is put again that nobody has answered.
const askAgain = 400 * time.Millisecond

// insist sends a request again and again until it is answered, so it must be one that does no more the second time: a
// cluster that is electing a leader drops requests, and the leader that it finds knows nothing of them. None is given up
// before ctx ends, since on a slow link the answer to the first may be on its way.
func (a *api) insist(ctx context.Context, subject string, payload []byte) (*nats.Msg, error) {
	type answer struct {
		msg *nats.Msg
		err error
	}
	answers := make(chan answer)
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for again := time.After(0); ; {
		select {
		case <-again:
			asking.Go(func() {
				msg, err := a.nc.RequestWithContext(ctx, subject, payload)
				select {
				case answers <- answer{msg, err}:
				case <-ctx.Done():
				}
			})
			again = time.After(backoff.Jitter(askAgain))
		case first := <-answers:
			return first.msg, first.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// classify adds the package's own error to those of the client and the server.
func classify(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("%w in time, check the server and the permissions: %w", ErrNoAnswer, err)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionReconnecting),
		cutShort(err):
		return fmt.Errorf("%w: %w", ErrConnectionLost, err)
	}
	switch {
	case hasCode(err, jetstream.JSErrCodeStreamNotFound):
		return fmt.Errorf("%w, create it or allow its creation: %w", ErrBucketNotFound, err)
	case hasCode(err, jetstream.JSErrCodeMessageNotFound):
		return errMessageNotFound
	case hasCode(err, jetstream.JSErrCodeStreamWrongLastSequence):
		return ErrOvertaken
	case hasCode(err, jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case hasCode(err, jetstream.JSErrCodeJetStreamNotEnabled, jetstream.JSErrCodeJetStreamNotEnabledForAccount,
		codeClusterNotAvailable, codeStreamOffline, codeStreamOfflineReason):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// cutShort reports whether err is the network's, which took a part of the message at most.
func cutShort(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "write" || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed)
}

// unanswered reports whether err says that the cluster can't answer: it may be electing a leader, and be able to in a moment.
func unanswered(err error) bool { return errors.Is(err, ErrNoAnswer) || errors.Is(err, ErrUnavailable) }

// info asks the stream's leader for the bucket's settings and state.
func (a *api) info(ctx context.Context) (Bucket, error) {
	return a.infoBy(ctx, a.nc.RequestWithContext)
}

// insistOnInfo is info for who must know at once when the stream has a leader again. It is not for each of a thousand nodes.
func (a *api) insistOnInfo(ctx context.Context) (Bucket, error) { return a.infoBy(ctx, a.insist) }

func (a *api) infoBy(ctx context.Context, send sender) (Bucket, error) {
	var si jetstream.StreamInfo
	if err := a.requestBy(ctx, send, "STREAM.INFO."+a.stream(), nil, &si); err != nil {
		return Bucket{}, err
	}
	if err := takesWrites(si.Cluster); err != nil {
		return Bucket{}, err
	}
	b := bucketOf(a.bucket, &si)
	b.state = &streamState{info: &si}
	b.Store = storeOf(b.state, Store{}, 0)
	b.ServerVersion = a.nc.ConnectedServerVersion()
	// The server read its clock before the answer arrived, so its time is this at least.
	b.ReceivedAt = time.Now()
	return b, nil
}

func bucketOf(name string, si *jetstream.StreamInfo) Bucket {
	c := &si.Config
	b := Bucket{
		Name: name, Created: si.Created, Revision: si.State.LastSeq, Values: si.State.Msgs,
		TTL: c.MaxAge, History: int(c.MaxMsgsPerSubject), Storage: c.Storage, Replicas: c.Replicas,
		Markers: c.SubjectDeleteMarkerTTL > 0, MarkerTTL: c.SubjectDeleteMarkerTTL, MessageTTL: c.AllowMsgTTL,
		MaxValueSize: max(c.MaxMsgSize, 0), Mirror: c.Mirror != nil, ServerTime: si.TimeStamp,
		firstRevision: si.State.FirstSeq, subjectPrefix: subjectPrefix(name),
	}
	if c.Mirror != nil {
		// The messages of a mirror keep the subjects of their origin.
		b.subjectPrefix = subjectPrefix(strings.TrimPrefix(c.Mirror.Name, "KV_"))
	}
	return b
}

func subjectPrefix(bucket string) string { return "$KV." + bucket + "." }

// createConsumer creates a consumer with the name in its configuration. Asking the cluster's leader twice would have it
// replicate the consumer twice; the stream's leader finds that it has the consumer.
func (a *api) createConsumer(ctx context.Context, c consumerConfig) error {
	req := struct {
		Stream string         `json:"stream_name"`
		Config consumerConfig `json:"config"`
	}{a.stream(), c}
	send := a.nc.RequestWithContext
	if c.Direct {
		send = a.insist
	}
	return a.requestBy(ctx, send, "CONSUMER.CREATE."+a.stream()+"."+c.Name+"."+c.FilterSubject, req, nil)
}

// deleteConsumer deletes a consumer; one that is gone already is no error.
func (a *api) deleteConsumer(ctx context.Context, name string) error {
	err := a.request(ctx, "CONSUMER.DELETE."+a.stream()+"."+name, nil, nil)
	if hasCode(err, jetstream.JSErrCodeConsumerNotFound) || errors.Is(err, ErrBucketNotFound) {
		return nil
	}
	return err
}

func hasCode(err error, codes ...jetstream.ErrorCode) bool {
	var apiErr *jetstream.APIError
	return errors.As(err, &apiErr) && slices.Contains(codes, apiErr.ErrorCode)
}

type messageRequest struct {
	Sequence uint64 `json:"seq,omitempty"`
	Last     string `json:"last_by_subj,omitempty"`
	Next     string `json:"next_by_subj,omitempty"`
}

// messageResponse is the answer to a messageRequest.
type messageResponse struct {
	Message struct {
		Subject  string    `json:"subject"`
		Sequence uint64    `json:"seq"`
		Header   []byte    `json:"hdrs"`
		Data     []byte    `json:"data"`
		Time     time.Time `json:"time"`
	} `json:"message"`
}

func (r *messageResponse) entry(subjectPrefix string) (Entry, error) {
	m := r.Message
	var h nats.Header
	if len(m.Header) > 0 {
		var err error
		if h, err = nats.DecodeHeadersMsg(m.Header); err != nil {
			return Entry{}, fmt.Errorf("reading the headers of revision %d: %w", m.Sequence, err)
		}
	}
	return newEntry(strings.TrimPrefix(m.Subject, subjectPrefix), h, m.Data, m.Sequence, m.Time), nil
}

// message reads one message from the stream's leader; errMessageNotFound says that the leader has none such.
func (a *api) message(ctx context.Context, subjectPrefix string, req messageRequest) (Entry, error) {
	return a.messageBy(ctx, a.nc.RequestWithContext, subjectPrefix, req)
}

func (a *api) messageBy(ctx context.Context, send sender, subjectPrefix string, req messageRequest) (Entry, error) {
	var resp messageResponse
	if err := a.requestBy(ctx, send, a.messageOperation(), req, &resp); err != nil {
		return Entry{}, err
	}
	return resp.entry(subjectPrefix)
}

func (a *api) messageOperation() string { return "STREAM.MSG.GET." + a.stream() }

// last reads the last message of a key from the stream's leader.
func (a *api) last(ctx context.Context, subjectPrefix, key string) (Entry, error) {
	return a.message(ctx, subjectPrefix, messageRequest{Last: subjectPrefix + key})
}

// insistOnLast is last for who reads few keys at a time, and must know at once when the stream has a leader again.
func (a *api) insistOnLast(ctx context.Context, subjectPrefix, key string) (Entry, error) {
	return a.messageBy(ctx, a.insist, subjectPrefix, messageRequest{Last: subjectPrefix + key})
}
