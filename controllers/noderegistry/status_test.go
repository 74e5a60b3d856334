package noderegistry

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/natsconn"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

var epoch = time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)

// healthy is a registry with which all is well since the epoch.
func healthy() *observation {
	return &observation{
		now:     epoch.Add(time.Hour),
		spec:    &rollcallv1alpha1.NodeRegistrySpec{},
		session: sessionState{link: natsconn.State{Connected: true, Ever: true, Since: epoch}},
		mirror: mirror.State{
			Reading: true, Since: epoch, Listed: true, LastSync: epoch.Add(59 * time.Minute),
			Bucket: kv.Bucket{Name: "b", TTL: time.Minute, History: 5, Markers: true, ServerVersion: "2.15.2"},
		},
	}
}

func TestConditions(t *testing.T) {
	consumers := natsconn.Denial{Subject: "$JS.API.CONSUMER.CREATE.KV_b.>", Bucket: "b"}
	stopped := func(o *observation) { o.mirror.Reading = false }
	down := func(err error) func(*observation) {
		return func(o *observation) {
			stopped(o)
			o.session.link.Connected, o.session.link.Trouble = false, natsconn.Classify(err, true, true)
		}
	}
	denied := func(d natsconn.Denial, ago time.Duration) func(*observation) {
		return func(o *observation) { o.session.denials = o.session.denials.add(d, o.now.Add(-ago)) }
	}
	invalid := func(survived bool) func(*observation) {
		return func(o *observation) { o.record = recordFault{err: errors.New("no"), survived: survived} }
	}
	for _, test := range []struct {
		name                            string
		change                          []func(*observation)
		connected, synced, degraded, is string
	}{
		{"all well", nil, "Connected", "Listed", "AsExpected", "Ready"},
		{"refused", []func(*observation){down(nats.ErrAuthorization)}, "AuthenticationFailed", "NotListed", "AsExpected", "AuthenticationFailed"},
		{"refused, in the server's words", []func(*observation){down(errors.New("nats: User Authentication Expired"))}, "AuthenticationFailed", "NotListed", "AsExpected", "AuthenticationFailed"},
		{"no Secret", []func(*observation){down(&natsconn.SpecError{Reason: rollcallv1alpha1.ReasonSecretNotFound, Message: "m"})}, "SecretNotFound", "NotListed", "AsExpected", "SecretNotFound"},
		{"TLS", []func(*observation){down(fmt.Errorf("%w: x509", nats.ErrTLS))}, "TLSFailed", "NotListed", "AsExpected", "TLSFailed"},
		{"lost", []func(*observation){down(errors.New("EOF"))}, "ConnectionLost", "NotListed", "AsExpected", "ConnectionLost"},
		{"denied", []func(*observation){stopped, denied(consumers, time.Second)}, "Connected", "PermissionDenied", "AsExpected", "PermissionDenied"},
		{"denied long ago", []func(*observation){stopped, denied(consumers, 2*time.Minute)}, "Connected", "Listing", "AsExpected", "Listing"},
		{"denied before the bucket was read for the last time", []func(*observation){
			stopped, denied(consumers, 20*time.Second), func(o *observation) { o.mirror.LastSync = o.now.Add(-10 * time.Second) },
		}, "Connected", "Listing", "AsExpected", "Listing"},
		{"denied, but read", []func(*observation){denied(consumers, 10*time.Second)}, "Connected", "Listed", "PermissionDenied", "Ready"},
		{"denied before the last listing", []func(*observation){denied(consumers, 10*time.Minute)}, "Connected", "Listed", "AsExpected", "Ready"},
		{"denied to another session", []func(*observation){denied(natsconn.Denial{Subject: "$JS.API.INFO"}, time.Second)}, "Connected", "Listed", "AsExpected", "Ready"},
		{"no bucket", []func(*observation){stopped, denied(consumers, time.Second), func(o *observation) { o.session.bucketErr = kv.ErrBucketNotFound }}, "Connected", "BucketNotFound", "AsExpected", "BucketNotFound"},
		{"another Secret is refused", []func(*observation){func(o *observation) { o.session.link.Trouble = natsconn.Classify(nats.ErrAuthorization, false, true) }}, "Connected", "Listed", "AuthenticationFailed", "Ready"},
		{"an invalid edit", []func(*observation){invalid(true)}, "Connected", "Listed", "InvalidExpression", "InvalidExpression"},
		{"never valid", []func(*observation){stopped, invalid(false)}, "InvalidExpression", "InvalidExpression", "AsExpected", "InvalidExpression"},
		{"suspended after an invalid edit", []func(*observation){stopped, invalid(true), func(o *observation) { o.suspended = true }}, "Suspended", "Suspended", "AsExpected", "Suspended"},
		{"suspended", []func(*observation){func(o *observation) { o.suspended = true }}, "Suspended", "Suspended", "AsExpected", "Suspended"},
	} {
		o := healthy()
		for _, f := range test.change {
			f(o)
		}
		got := map[string]string{}
		for _, c := range statusOf(&rollcallv1alpha1.NodeRegistry{ObjectMeta: metav1.ObjectMeta{Generation: 1}}, o).Conditions {
			got[c.Type] = c.Reason
		}
		want := map[string]string{"Connected": test.connected, "Synced": test.synced, "Degraded": test.degraded, "Ready": test.is}
		for kind, reason := range want {
			if got[kind] != reason {
				t.Errorf("%s: %s is %s, want %s", test.name, kind, got[kind], reason)
			}
		}
	}
}

// A denial that recurs after each listing does not come and go in the status.
func TestADenialDoesNotFlap(t *testing.T) {
	o := healthy()
	d := natsconn.Denial{Subject: "$JS.API.CONSUMER.DELETE.KV_b.>", Bucket: "b"}
	o.session.denials = o.session.denials.add(d, o.mirror.LastSync.Add(-time.Minute))
	o.now = o.mirror.LastSync.Add(time.Millisecond)
	if o.denied() == "" {
		t.Error("the denial was forgotten before it could recur")
	}
	o.now = o.mirror.LastSync.Add(patience)
	if denied := o.denied(); denied != "" {
		t.Errorf("the denial did not recur, but %q is still told", denied)
	}
}

func TestOldServer(t *testing.T) {
	for version, want := range map[string]bool{"2.9.25": true, "2.10.29": true, "2.11.0": false, "2.15.2": false, "3.0.0-beta": false, "": false, "dev": false} {
		if got := oldServer(version); got != want {
			t.Errorf("%q is old: %t", version, got)
		}
	}
}
