package agent

import (
	"bytes"
	"crypto/tls"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// way is one way to log in.
type way struct {
	given  bool
	option func() (nats.Option, error)
}

func (l Login) ways() []way {
	return []way{
		{l.CredentialsFile != "", l.credentials},
		{l.NKeyFile != "", l.nkey},
		{l.Token != "" || l.TokenFile != "", l.token},
		{l.Username != "", l.password},
	}
}

func (l Login) validate() error {
	given := 0
	for _, way := range l.ways() {
		if way.given {
			given++
		}
	}
	switch {
	case given > 1:
		return refuse("there are several ways to log in: give one of --credentials-file, --nkey-file, --token, --token-file and --username")
	case l.Token != "" && l.TokenFile != "":
		return refuse("the token is given twice: give one of --token and --token-file")
	case l.Password != "" && l.PasswordFile != "":
		return refuse("the password is given twice: give one of --password and --password-file")
	case l.Username == "" && (l.Password != "" || l.PasswordFile != ""):
		return refuse("there is a password without a user: give --username")
	}
	return nil
}

// options returns the login. Its files are read for every attempt, so that they can be replaced at any time; one that
// can't be read now is refused.
func (l Login) options() ([]nats.Option, error) {
	for _, way := range l.ways() {
		if way.given {
			option, err := way.option()
			return []nats.Option{option}, err
		}
	}
	return nil, nil
}

func (l Login) credentials() (nats.Option, error) {
	content, err := readLine("--credentials-file", l.CredentialsFile)
	if err != nil {
		return nil, err
	}
	if _, err := nkeys.ParseDecoratedUserNKey([]byte(content)); err != nil {
		return nil, refuse("--credentials-file %s: it must hold a user's JWT and seed, as nsc writes it", l.CredentialsFile)
	}
	return nats.UserCredentials(l.CredentialsFile), nil
}

func (l Login) nkey() (nats.Option, error) {
	option, err := nats.NkeyOptionFromSeed(l.NKeyFile)
	if err != nil {
		return nil, refuse("--nkey-file %s: %v: it must hold the seed of a user NKey, which begins with SU", l.NKeyFile, err)
	}
	return option, nil
}

func (l Login) token() (nats.Option, error) {
	if l.Token != "" {
		return nats.Token(l.Token), nil
	}
	_, err := readLine("--token-file", l.TokenFile)
	return nats.TokenHandler(func() string { return latest(l.TokenFile) }), err
}

func (l Login) password() (nats.Option, error) {
	if l.PasswordFile == "" {
		return nats.UserInfo(l.Username, l.Password), nil
	}
	_, err := readLine("--password-file", l.PasswordFile)
	return nats.UserInfoHandler(func() (string, string) { return l.Username, latest(l.PasswordFile) }), err
}

// readLine returns the content of a file without the line end that most files have.
func readLine(flag, file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", refuse("%s: %v: name a file that the agent's user may read", flag, err)
	}
	if content = bytes.TrimRight(content, "\r\n"); len(content) == 0 {
		return "", refuse("%s: %s is empty", flag, file)
	}
	return string(content), nil
}

// latest returns the content of a file that could be read at the start. If it can't be read any more, the server refuses
// the login, and says so.
func latest(file string) string {
	content, _ := readLine("", file)
	return content
}

// options returns how to secure the connection. Certificates are read for every attempt.
func (t TLS) options() []nats.Option {
	if t == (TLS{}) {
		return nil
	}
	options := []nats.Option{nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName})}
	if t.CAFile != "" {
		options = append(options, nats.RootCAs(t.CAFile))
	}
	if t.CertificateFile != "" {
		options = append(options, nats.ClientCert(t.CertificateFile, t.KeyFile))
	}
	return options
}
