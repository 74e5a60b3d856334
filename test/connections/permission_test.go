package connections

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// restricted is a server whose user rollcall has those permissions, with the bucket catga_nodes; grant changes them while
// it runs.
func restricted(t *testing.T, p *server.Permissions) (r *rig, grant func(*server.Permissions)) {
	t.Helper()
	var options server.Options
	configure := func(o *server.Options) {
		users(&server.User{Username: "rollcall", Password: "the-right-password", Permissions: p})(o)
		options = *o
	}
	r = newRig(t, configure)
	js, err := jetstream.New(r.nats.Connect(t, nats.UserInfo("admin", adminPassword)))
	must(t, err)
	_, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket, TTL: 300e9, History: 5, LimitMarkerTTL: 300e9})
	must(t, err)
	r.secret("login", basic("the-right-password"))
	return r, func(p *server.Permissions) {
		t.Helper()
		next := options
		users(&server.User{Username: "rollcall", Password: "the-right-password", Permissions: p})(&next)
		must(t, r.nats.NATS().ReloadOptions(&next))
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	const inbox = "_INBOX"
	for name, test := range map[string]struct {
		denied  string
		subject string
	}{
		"stream info":     {"$JS.API.STREAM.INFO.KV_" + bucket, "$JS.API.STREAM.INFO.KV_" + bucket},
		"consumer create": {"$JS.API.CONSUMER.CREATE.KV_" + bucket + ".>", "$JS.API.CONSUMER.CREATE.KV_" + bucket + ".>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, grant := restricted(t, reader(inbox, test.denied))
			r.registry("catga", userPassword("login"))
			r.await("catga", "Synced", "False/PermissionDenied", `publish to "`+test.subject+`"`)
			r.await("catga", "Ready", "False/PermissionDenied", test.subject)
			r.await("catga", "Connected", "True/Connected")
			grant(reader(inbox))
			r.await("catga", "Ready", "True/Ready")
			r.await("catga", "Degraded", "False/AsExpected")
		})
	}
}

// A user that may receive answers on an inbox of its own alone needs inboxPrefix; without it, the condition says so.
func TestInboxPrefix(t *testing.T) {
	t.Parallel()
	r, grant := restricted(t, reader("_INBOX_rollcall"))
	r.registry("prefixed", userPassword("login"), func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Connection.InboxPrefix = "_INBOX_rollcall" })
	r.registry("plain", userPassword("login"))
	r.await("prefixed", "Ready", "True/Ready")
	r.await("plain", "Ready", "False/PermissionDenied", `subscribe to "_INBOX.>"`)
	grant(reader("_INBOX"))
	r.await("plain", "Ready", "True/Ready")
}
