package mainjob

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admission "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/manager"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

// webhook is an admission webhook for the EndpointSlices of the rig's namespace.
type webhook struct {
	server *httptest.Server
	// asked gets something for each request that hangs.
	asked chan struct{}
	// open is closed once it answers.
	open   chan struct{}
	denied []byte
	code   int32
	// remove has it asked no more.
	remove func()
}

// serve answers an admission review.
func (w *webhook) serve(response http.ResponseWriter, request *http.Request) {
	review := &admission.AdmissionReview{}
	if err := json.NewDecoder(request.Body).Decode(review); err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case w.asked <- struct{}{}:
	default:
	}
	select {
	case <-w.open:
	case <-request.Context().Done():
	}
	review.Response = &admission.AdmissionResponse{UID: review.Request.UID, Allowed: !bytes.Contains(review.Request.Object.Raw, w.denied)}
	if !review.Response.Allowed {
		review.Response.Result = &metav1.Status{Code: w.code, Message: testrig.Refusal}
	}
	_ = json.NewEncoder(response).Encode(review)
}

// webhook has a webhook asked for EndpointSlices, which hangs until open is closed, and allows then all that has not got that text; the
// rest it denies with the code.
func (r *rig) webhook(denied string, code int32) *webhook {
	r.Helper()
	w := &webhook{asked: make(chan struct{}, 1), open: make(chan struct{}), denied: []byte(denied), code: code}
	w.server = httptest.NewTLSServer(http.HandlerFunc(w.serve))
	r.Cleanup(w.server.Close)
	rule := admissionv1.RuleWithOperations{
		Operations: []admissionv1.OperationType{admissionv1.OperationAll},
		Rule:       admissionv1.Rule{APIGroups: []string{"discovery.k8s.io"}, APIVersions: []string{"v1"}, Resources: []string{"endpointslices"}},
	}
	configuration := &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: r.Namespace + ".rollcall.test"},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "slow.rollcall.test",
			ClientConfig: admissionv1.WebhookClientConfig{
				URL:      new(w.server.URL),
				CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.server.Certificate().Raw}),
			},
			Rules:                   []admissionv1.RuleWithOperations{rule},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: r.Namespace}},
			SideEffects:             new(admissionv1.SideEffectClassNone),
			TimeoutSeconds:          new(int32(30)),
			AdmissionReviewVersions: []string{"v1"},
		}},
	}
	r.Create(configuration)
	w.remove = func() {
		if err := client.IgnoreNotFound(r.API.Delete(context.Background(), configuration)); err != nil {
			r.Error(err)
		}
	}
	r.Cleanup(w.remove)
	return w
}

// inForce waits until the webhook is asked.
func (w *webhook) inForce(r *rig) {
	r.Helper()
	r.Within(patience, "the webhook to be asked", func() bool {
		go func() { _ = r.API.Create(r.Context(), r.slice(address(0)), client.DryRunAll) }()
		select {
		case <-w.asked:
			return true
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
}

// TestAWebhookThatHangsHoldsBackNobodyElse: ten Services of one namespace get no answer, and that of another is written at once.
func TestAWebhookThatHangsHoldsBackNobodyElse(t *testing.T) {
	t.Parallel()
	const services = 10
	r := populated(t, 2)
	for n := range services {
		r.service(fmt.Sprintf("web-%d", n))
	}
	other := &rig{Rig: testrig.New(t, env), nats: r.nats, kv: r.kv}
	other.registry()
	other.service("web")
	r.startReady(func(_ *rest.Config, o *manager.Options) { o.Namespaces = append(o.Namespaces, other.Namespace) })
	for _, both := range []*rig{r, other} {
		both.Within(patience, "all endpoints", both.serves(0, 2))
	}
	hung := r.webhook("nothing", 0)
	hung.inForce(r)

	r.beat(2)
	r.Within(patience, "the other namespace", other.serves(0, 3))
	r.reports(rollcallv1alpha1.ReasonWriteUnanswered, "5s")
	r.unregister(0)
	took := r.Within(patience, "the node to go from the other namespace", other.serves(1, 3))
	t.Logf("out of the other namespace after %s", took)
	if !r.serves(0, 2)() {
		t.Errorf("the webhook did not hang: %v", r.ready("web"))
	}
	close(hung.open)
	r.Within(patience, "all to be right once it answers", r.serves(1, 3))
	r.reports("Synced")
}

// TestAWebhookThatIsDownIsTold: nothing can be written, another namespace does not notice, and all is right once it is back.
func TestAWebhookThatIsDownIsTold(t *testing.T) {
	t.Parallel()
	r := populated(t, 2)
	other := &rig{Rig: testrig.New(t, env), nats: r.nats, kv: r.kv}
	other.registry()
	other.service("web")
	r.startReady(func(_ *rest.Config, o *manager.Options) { o.Namespaces = append(o.Namespaces, other.Namespace) })
	for _, both := range []*rig{r, other} {
		both.Within(patience, "all endpoints", both.serves(0, 2))
	}
	down := r.webhook("nothing", 0)
	close(down.open)
	down.inForce(r)
	down.server.Close()

	r.beat(2)
	r.reports(rollcallv1alpha1.ReasonWriteFailed, "slow.rollcall.test")
	r.unregister(0)
	took := r.Within(patience, "the node to go from the other namespace", other.serves(1, 3))
	t.Logf("out of the other namespace after %s", took)
	down.remove()
	r.Within(patience, "all to be right without it", r.serves(1, 3))
	r.reports("Synced")
}

// TestAWebhookDeniesWithAnyCode: also with one that the API server itself gives for something else.
func TestAWebhookDeniesWithAnyCode(t *testing.T) {
	for _, code := range []int32{http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusTeapot, http.StatusInternalServerError} {
		t.Run(http.StatusText(int(code)), func(t *testing.T) {
			t.Parallel()
			r := populated(t, 20)
			manager := r.startReady()
			r.Within(patience, "all endpoints", r.serves(0, 20))
			w := r.webhook(fmt.Sprintf("%q", address(20)), code)
			close(w.open)
			w.inForce(r)
			manager.Take()
			r.beatAll(20, 22)
			r.unregisterAll(0, 10)
			r.Within(patience, "those that unregistered to go", r.servesAll([]int{10, 20}, []int{21, 22}))
			r.reports("EndpointsRefused: 1 ", address(20), testrig.Refusal)
			if n := slicesWritten(manager); n > 60 {
				t.Errorf("it wrote %d times", n)
			}
			w.remove()
			r.Within(patience, "all endpoints", r.serves(10, 22))
		})
	}
}

// TestAWriteThatIsPutOffIsTold: the client library repeats what is answered with 429 for ten times.
func TestAWriteThatIsPutOffIsTold(t *testing.T) {
	t.Parallel()
	r := populated(t, 2)
	var busy atomic.Bool
	r.startReady(func(c *rest.Config, _ *manager.Options) {
		c.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return testrig.RoundTripper(func(request *http.Request) (*http.Response, error) {
				if !busy.Load() || request.Method == http.MethodGet || !strings.Contains(request.URL.Path, "endpointslices") {
					return next.RoundTrip(request)
				}
				return &http.Response{
					StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}, Body: http.NoBody, Request: request,
				}, nil
			})
		})
	})
	r.Within(patience, "all endpoints", r.serves(0, 2))
	busy.Store(true)
	r.beat(2)
	r.reports(rollcallv1alpha1.ReasonWriteUnanswered)
	busy.Store(false)
	r.Within(patience, "the new endpoint", r.serves(0, 3))
	r.reports("Synced")
}
