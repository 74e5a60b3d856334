package connections

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// A Secret that is gone leaves the connection as it is, unless the NodeRegistry asks for another thing. A login that expires
// has the Secret be read soon.
func TestASecretThatIsGone(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	r := newRig(t, o.configure(t))
	with := func(loss rollcallv1alpha1.SecretLoss) func(*rollcallv1alpha1.NodeRegistrySpec) {
		return func(s *rollcallv1alpha1.NodeRegistrySpec) {
			s.Connection.OnSecretLoss = loss
			s.Connection.Auth = &rollcallv1alpha1.Auth{Credentials: &rollcallv1alpha1.SecretKeyReference{Name: "login", Key: "user.creds"}}
		}
	}
	file := map[string]string{"user.creds": o.userFor(t, 40*time.Second)}
	r.secret("login", file)
	r.registry("keeps", with(""))
	r.registry("closes", with(rollcallv1alpha1.SecretLossClose), bucketName("other"))
	r.await("keeps", "Ready", "True/Ready")
	r.await("closes", "Ready", "True/Ready")
	must(t, r.API.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "login"}}))
	r.await("keeps", "Degraded", "True/SecretNotFound", "the connection stands", `Secret "login"`)
	r.await("closes", "Connected", "False/SecretNotFound", `Secret "login"`)
	r.await("keeps", "Connected", "True/Connected")
	r.await("keeps", "Ready", "True/Ready")
	r.Within(patience, "the server to have the client that is kept alone", func() bool { return r.nats.NATS().NumClients() == 1 })
	r.secret("login", map[string]string{"user.creds": o.user(t)})
	created := time.Now()
	r.await("closes", "Ready", "True/Ready")
	r.await("keeps", "Degraded", "False/AsExpected")
	if took := time.Since(created); took > 10*time.Second {
		t.Errorf("the Secret was there again for %s before it was used", took)
	}
}
