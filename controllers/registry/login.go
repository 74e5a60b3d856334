package registry

import (
	"bytes"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// credentials returns the login with a credentials file, nil if it is none.
func credentials(file []byte) nats.Option {
	jwt, err := nkeys.ParseDecoratedJWT(file)
	// Without the lines around it, the parser takes anything for a JWT.
	if err != nil || strings.Count(jwt, ".") != 2 || strings.ContainsAny(jwt, " \r\n") {
		return nil
	}
	user, err := nkeys.ParseDecoratedUserNKey(file)
	if err != nil {
		return nil
	}
	return nats.UserJWT(func() (string, error) { return jwt, nil }, user.Sign)
}

// nkey returns the login with the seed of a user's NKey, nil if it is none.
func nkey(seed []byte) nats.Option {
	user, err := nkeys.FromSeed(bytes.TrimSpace(seed))
	if err != nil {
		return nil
	}
	public, err := user.PublicKey()
	if err != nil || !nkeys.IsValidPublicUserKey(public) {
		return nil
	}
	return nats.Nkey(public, user.Sign)
}

// token returns the login with a token, nil if it is empty.
func token(value []byte) nats.Option {
	if value = line(value); len(value) > 0 {
		return nats.Token(string(value))
	}
	return nil
}
