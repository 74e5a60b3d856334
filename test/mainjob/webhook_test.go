package mainjob

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
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
	open chan struct{}
	// remove has it asked no more.
	remove func()
}

// webhook has a webhook asked for EndpointSlices, which hangs until open is closed, and allows everything then.
func (r *rig) webhook() *webhook {
	r.Helper()
	w := &webhook{asked: make(chan struct{}, 1), open: make(chan struct{})}
	w.server = httptest.NewTLSServer(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		review := &admission.AdmissionReview{}
		body, err := io.ReadAll(request.Body)
		if err == nil {
			err = json.Unmarshal(body, review)
		}
		if err != nil {
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
		review.Response = &admission.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		_ = json.NewEncoder(response).Encode(review)
	}))
	r.Cleanup(w.server.Close)
	rule := admissionv1.RuleWithOperations{
		Operations: []admissionv1.OperationType{admissionv1.OperationAll},
		Rule:       admissionv1.Rule{APIGroups: []string{"discovery.k8s.io"}, APIVersions: []string{"v1"}, Resources: []string{"endpointslices"}},
	}
	configuration := &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s.rollcall.test", r.Namespace)},
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
	hung := r.webhook()
	hung.inForce(r)

	r.beat(2)
	r.Within(patience, "the other namespace", other.serves(0, 3))
	r.reports(rollcallv1alpha1.ReasonWriteUnanswered, "5s")
	r.unregister(0)
	took := r.Within(atOnce, "the node to go from the other namespace", other.serves(1, 3))
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
	down := r.webhook()
	close(down.open)
	down.inForce(r)
	down.server.Close()

	r.beat(2)
	r.reports(rollcallv1alpha1.ReasonWriteFailed, "slow.rollcall.test")
	r.unregister(0)
	took := r.Within(atOnce, "the node to go from the other namespace", other.serves(1, 3))
	t.Logf("out of the other namespace after %s", took)
	down.remove()
	r.Within(patience, "all to be right without it", r.serves(1, 3))
	r.reports("Synced")
}
