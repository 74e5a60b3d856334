package connections

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// pair returns a new key pair with its public key and its seed.
func pair(t *testing.T, create func() (nkeys.KeyPair, error)) (keys nkeys.KeyPair, public, seed string) {
	t.Helper()
	keys, err := create()
	must(t, err)
	public, err = keys.PublicKey()
	must(t, err)
	secret, err := keys.Seed()
	must(t, err)
	return keys, public, string(secret)
}

// operator is an operator with one account that may use JetStream, as nsc makes it.
type operator struct {
	account    nkeys.KeyPair
	accountJWT string
	claims     *jwt.OperatorClaims
	public     string
	system     string
	systemJWT  string
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	keys, public, _ := pair(t, nkeys.CreateOperator)
	o := &operator{}
	encode := func(name string) (nkeys.KeyPair, string, string) {
		account, accountPublic, _ := pair(t, nkeys.CreateAccount)
		claims := jwt.NewAccountClaims(accountPublic)
		claims.Name = name
		if name != "SYS" {
			claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit}
		}
		text, err := claims.Encode(keys)
		must(t, err)
		return account, accountPublic, text
	}
	_, o.system, o.systemJWT = encode("SYS")
	o.account, o.public, o.accountJWT = encode("fleet")
	claims := jwt.NewOperatorClaims(public)
	claims.SystemAccount = o.system
	text, err := claims.Encode(keys)
	must(t, err)
	o.claims, err = jwt.DecodeOperatorClaims(text)
	must(t, err)
	return o
}

func (o *operator) configure(t *testing.T) func(*server.Options) {
	t.Helper()
	return func(so *server.Options) {
		so.TrustedOperators = []*jwt.OperatorClaims{o.claims}
		so.SystemAccount = o.system
		resolver := &server.MemAccResolver{}
		must(t, resolver.Store(o.public, o.accountJWT))
		must(t, resolver.Store(o.system, o.systemJWT))
		so.AccountResolver = resolver
	}
}

// user returns the credentials file of a new user of the account.
func (o *operator) user(t *testing.T) string {
	t.Helper()
	return o.userFor(t, 0)
}

// userFor is the same for a user whose JWT expires after that time; zero: never.
func (o *operator) userFor(t *testing.T, life time.Duration) string {
	t.Helper()
	_, public, seed := pair(t, nkeys.CreateUser)
	claims := jwt.NewUserClaims(public)
	if life > 0 {
		claims.Expires = time.Now().Add(life).Unix()
	}
	text, err := claims.Encode(o.account)
	must(t, err)
	file, err := jwt.FormatUserConfig(text, []byte(seed))
	must(t, err)
	return string(file)
}

// users are the users of a server, among them admin, who may do everything.
func users(more ...*server.User) func(*server.Options) {
	return func(o *server.Options) {
		o.Users = append([]*server.User{{Username: "admin", Password: adminPassword}}, more...)
	}
}

const adminPassword = "the-password-of-admin"

// reader are the permissions that reading the bucket catga_nodes takes, answers on that inbox, without those subjects.
func reader(inbox string, without ...string) *server.Permissions {
	p := &server.Permissions{Publish: &server.SubjectPermission{}, Subscribe: &server.SubjectPermission{Allow: []string{inbox + ".>"}}}
	for _, subject := range []string{"STREAM.INFO.%s", "CONSUMER.CREATE.%s.>", "CONSUMER.DELETE.%s.>", "STREAM.MSG.GET.%s"} {
		p.Publish.Allow = append(p.Publish.Allow, "$JS.API."+fmt.Sprintf(subject, "KV_"+bucket))
	}
	p.Publish.Allow = append(p.Publish.Allow, "$JS.FC.KV_"+bucket+".>")
	p.Publish.Deny = without
	return p
}
