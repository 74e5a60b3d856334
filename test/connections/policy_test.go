package connections

import (
	"testing"

	"k8s.io/client-go/rest"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/manager"
)

func withServers(servers ...string) func(*rollcallv1alpha1.NodeRegistrySpec) {
	return func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Connection.Servers = servers }
}

// What the manager may not connect to is not dialled, and nothing is told but that.
func TestAllowedServers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		allowed []string
		want    string
	}{
		"by default":         {nil, "False/ServerNotAllowed"},
		"another host":       {[]string{"nats.example.com"}, "False/ServerNotAllowed"},
		"its name alone":     {[]string{"localhost", "*.localhost"}, "False/ServerNotAllowed"},
		"another range":      {[]string{"10.0.0.0/8"}, "False/ServerNotAllowed"},
		"the address":        {[]string{"127.0.0.1"}, "True/Connected"},
		"a range that is it": {[]string{"127.0.0.0/8"}, "True/Connected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRigWith(t, nil, func(_ *rest.Config, o *manager.Options) { o.AllowedServers = test.allowed })
			r.registry("catga")
			r.await("catga", "Connected", test.want)
			if test.want == "True/Connected" {
				return
			}
			r.await("catga", "Ready", test.want, "--allowed-server")
			r.registry("localhost", withServers("nats://localhost:"+r.nats.Port()))
			r.await("localhost", "Connected", test.want)
			varz, err := r.nats.NATS().Varz(nil)
			must(t, err)
			if varz.TotalConnections != 0 {
				t.Errorf("the server was dialled %d times", varz.TotalConnections)
			}
		})
	}
}

// The cause is told of servers that the manager may connect to.
func TestServersThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, nil, func(_ *rest.Config, o *manager.Options) { o.AllowedServers = append(o.AllowedServers, "nats.invalid") })
	url := r.nats.URL()
	r.nats.Stop()
	r.registry("stopped", withServers(url))
	r.registry("nowhere", withServers("nats://nats.invalid:4222"))
	r.await("stopped", "Ready", "False/ServerUnreachable", "connection refused")
	r.await("nowhere", "Ready", "False/ServerNotFound", "nats.invalid")
	must(t, r.nats.Restart())
	r.await("stopped", "Ready", "True/Ready")
	r.nats.Stop()
	r.await("stopped", "Ready", "False/ConnectionLost", "connection refused")
}
