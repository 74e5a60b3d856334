package natsconn

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// credentialsFile returns the login with a credentials file, nil if it is none.
func credentialsFile(file []byte) nats.Option {
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

// expiry returns when the user JWT in a credentials file expires; zero: never, or there is none.
func expiry(file []byte) time.Time {
	jwt, err := nkeys.ParseDecoratedJWT(file)
	if err != nil {
		return time.Time{}
	}
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Expires int64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Expires <= 0 {
		return time.Time{}
	}
	return time.Unix(claims.Expires, 0)
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
