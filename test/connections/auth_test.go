package connections

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// Each server demands its kind of login: the right one is let in, a wrong one and none are refused.
func TestAuth(t *testing.T) {
	t.Parallel()
	_, public, seed := pair(t, nkeys.CreateUser)
	_, _, otherSeed := pair(t, nkeys.CreateUser)
	mine, other := newOperator(t), newOperator(t)
	one := func(set func(*rollcallv1alpha1.Auth, string)) func(string) *rollcallv1alpha1.Auth {
		return func(secret string) *rollcallv1alpha1.Auth {
			auth := &rollcallv1alpha1.Auth{}
			set(auth, secret)
			return auth
		}
	}
	for _, test := range []struct {
		name         string
		configure    func(*server.Options)
		auth         func(secret string) *rollcallv1alpha1.Auth
		right, wrong map[string]string
	}{
		{
			name:      "userPassword",
			configure: users(&server.User{Username: "rollcall", Password: "the-right-password"}),
			auth:      one(func(a *rollcallv1alpha1.Auth, s string) { a.UserPassword = &rollcallv1alpha1.SecretReference{Name: s} }),
			right:     map[string]string{"username": "rollcall", "password": "the-right-password\n"},
			wrong:     map[string]string{"username": "rollcall", "password": "the-wrong-password"},
		},
		{
			name:      "token",
			configure: func(o *server.Options) { o.Authorization = "the-right-token" },
			auth: one(func(a *rollcallv1alpha1.Auth, s string) {
				a.Token = &rollcallv1alpha1.SecretKeyReference{Name: s, Key: "token"}
			}),
			right: map[string]string{"token": "the-right-token"},
			wrong: map[string]string{"token": "the-wrong-token"},
		},
		{
			name:      "nkey",
			configure: func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} },
			auth: one(func(a *rollcallv1alpha1.Auth, s string) {
				a.NKey = &rollcallv1alpha1.SecretKeyReference{Name: s, Key: "seed"}
			}),
			right: map[string]string{"seed": seed + "\n"},
			wrong: map[string]string{"seed": otherSeed},
		},
		{
			name:      "credentials",
			configure: mine.configure(t),
			auth: one(func(a *rollcallv1alpha1.Auth, s string) {
				a.Credentials = &rollcallv1alpha1.SecretKeyReference{Name: s, Key: "user.creds"}
			}),
			right: map[string]string{"user.creds": mine.user(t)},
			wrong: map[string]string{"user.creds": other.user(t)},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, test.configure)
			r.secret("right", test.right)
			r.secret("wrong", test.wrong)
			with := func(auth *rollcallv1alpha1.Auth) func(*rollcallv1alpha1.NodeRegistrySpec) {
				return func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Connection.Auth = auth }
			}
			r.registry("right", with(test.auth("right")))
			r.registry("wrong", with(test.auth("wrong")))
			r.registry("none")
			r.await("right", "Ready", "True/Ready")
			r.await("wrong", "Connected", "False/AuthenticationFailed", "the server refuses the login")
			r.await("wrong", "Ready", "False/AuthenticationFailed", "the server refuses the login")
			r.await("none", "Connected", "False/AuthenticationRequired", "spec.connection.auth")
			r.await("none", "Ready", "False/AuthenticationRequired", "the server demands a login")
		})
	}
}

func TestNoAuth(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.registry("plain")
	r.await("plain", "Ready", "True/Ready")
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.touched) > 0 {
		t.Errorf("a connection without a Secret sent %v", r.touched)
	}
}
