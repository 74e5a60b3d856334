package agent

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-dev/rollcall/discovery"
)

// ConfigError says what is wrong with a setting, and what to do about it. Trying again would not help.
type ConfigError struct{ message string }

// Error implements error.
func (e *ConfigError) Error() string { return e.message }

func refuse(format string, args ...any) error {
	return &ConfigError{message: fmt.Sprintf(format, args...)}
}

// Config says what an agent does; the flags of BindFlags document it.
type Config struct {
	// Servers are the URLs of NATS servers.
	Servers []string
	// Login says how to log in, TLS how to secure the way.
	Login Login
	TLS   TLS
	// Domain is the JetStream domain, InboxPrefix what the subjects of answers start with; empty for the defaults.
	Domain, InboxPrefix string

	// Bucket and KeyPrefix say where the node is registered.
	Bucket, KeyPrefix string
	// CreateBucket lets a missing bucket be created, with the TTL BucketTTL.
	CreateBucket bool
	BucketTTL    time.Duration

	// NodeID, Name, Endpoint, Addresses, Ports, Zone and Metadata go into the record.
	NodeID, Name, Endpoint string
	Addresses              []string
	Ports                  []discovery.Port
	Zone                   string
	Metadata               map[string]string
	// Owner tells this agent's entry from that of another one with the same node ID.
	Owner string

	// Interval is the longest time between two heartbeats; GracePeriod bounds how long is tried to unregister.
	Interval, GracePeriod time.Duration
	// Load says where the load comes from.
	Load Load
	// Health says when the node is registered.
	Health Health

	// ProbeAddress is the host:port of the endpoints /healthz and /readyz; "0" turns them off.
	ProbeAddress string
	LogLevel     slog.Level
	LogFormat    string
}

// Login says how to log in to NATS. All of it empty: without a login.
type Login struct {
	CredentialsFile, NKeyFile        string
	Token, TokenFile                 string
	Username, Password, PasswordFile string
}

// TLS says how to secure the connection to NATS.
type TLS struct {
	// Required refuses a connection without TLS, as every other member does too.
	Required bool
	// CAFile, CertificateFile and KeyFile hold PEM. ServerName is the name that the servers' certificate must be for.
	CAFile, CertificateFile, KeyFile, ServerName string
}

// The sources of a load.
const (
	loadAverage = "average"
	loadNone    = "none"
)

// Load says where the load comes from: the machine's average, a command if there is one, or nowhere.
type Load struct {
	Source, Command string
	// Timeout bounds a run of the command.
	Timeout time.Duration
}

// Health says how the node's health is checked: at most one of HTTP, TCP and Command is set.
type Health struct {
	// HTTP is a URL, TCP host:port, Command a line for the shell.
	HTTP, TCP, Command string
	// Interval is the time from one check to the next, Timeout how long a check may take.
	Interval, Timeout time.Duration
	// Failures and Successes are how many in a row change the node's health.
	Failures, Successes int
	// Drain keeps an unhealthy node registered, as draining.
	Drain bool
}

func (h Health) enabled() bool { return h.HTTP != "" || h.TCP != "" || h.Command != "" }

// validate refuses what can't work, whatever NATS says.
func (c *Config) validate() error {
	for _, check := range []func() error{
		c.validateConnection, c.validateNode, c.validateReach, c.validateTimes, c.Load.validate, c.Health.validate, c.validateLog,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) validateConnection() error {
	if len(c.Servers) == 0 {
		return refuse("no NATS server is given: give --servers or ROLLCALL_SERVERS, such as nats://nats.example.com:4222")
	}
	if slices.ContainsFunc(c.Servers, func(server string) bool { return strings.Contains(server, "@") }) {
		// The URL is not repeated: it may end up in a log.
		return refuse("--servers holds a user or a token (an @): leave it out, and give --username or --token-file")
	}
	if err := c.Login.validate(); err != nil {
		return err
	}
	if (c.TLS.CertificateFile == "") != (c.TLS.KeyFile == "") {
		return refuse("a client certificate needs its key: give both --tls-certificate-file and --tls-key-file")
	}
	return nil
}

func (c *Config) validateNode() error {
	if _, err := discovery.Key(c.KeyPrefix, c.NodeID); err != nil {
		return refuse("%v; give another --node-id or --key-prefix", err)
	}
	return nil
}

// validateReach refuses a node that nobody could reach. An address that is found later stands in as any.
func (c *Config) validateReach() error {
	n := c.node()
	if c.findsAddress() {
		n.Addresses = []string{netip.IPv4Unspecified().String()}
	}
	if c.Endpoint == "" && len(c.Ports) == 0 {
		return refuse("nobody could reach the node: give --ports, such as http:8080, or --endpoint, such as http://10.0.0.5:8080")
	}
	if _, _, err := n.Reach(); err != nil {
		return refuse("%v; see --endpoint, --addresses and --ports", err)
	}
	return nil
}

// findsAddress reports whether the address is that of the connection to NATS.
func (c *Config) findsAddress() bool { return len(c.Addresses) == 0 && c.Endpoint == "" }

// leastInterval keeps a typing error, such as 10ms for 10s, from becoming a flood.
const leastInterval = 100 * time.Millisecond

func (c *Config) validateTimes() error {
	switch {
	case c.Interval < leastInterval:
		return refuse("--heartbeat-interval is %v: use %v or more", c.Interval, leastInterval)
	case c.Load.Command != "" && (c.Load.Timeout <= 0 || c.Load.Timeout > c.Interval):
		return refuse("--load-timeout is %v: use more than 0, and at most the --heartbeat-interval of %v", c.Load.Timeout, c.Interval)
	case c.GracePeriod <= 0:
		return refuse("--grace-period is %v: use more than 0", c.GracePeriod)
	case c.CreateBucket && c.BucketTTL <= 0:
		return refuse("--bucket-ttl is %v: use more than 0", c.BucketTTL)
	}
	return nil
}

func (l Load) validate() error {
	if l.Source != loadAverage && l.Source != loadNone {
		return refuse("--load is %q: use %s or %s", l.Source, loadAverage, loadNone)
	}
	return nil
}

func (c *Config) validateLog() error {
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return refuse("--log-format is %q: use text or json", c.LogFormat)
	}
	return nil
}

// node returns the node as the configuration has it.
func (c *Config) node() discovery.Node {
	n := discovery.Node{
		ID: c.NodeID, Name: c.Name, Endpoint: c.Endpoint, Ports: c.Ports, Zone: c.Zone, Metadata: c.Metadata,
	}
	c.locate(&n, c.Addresses)
	if c.Owner != "" {
		n.Owner = &discovery.Owner{UID: c.Owner}
	}
	return n
}

// locate gives a node its addresses, and an endpoint if none was given: readers of the record may know nothing else.
func (c *Config) locate(n *discovery.Node, addresses []string) {
	n.Addresses = addresses
	if c.Endpoint != "" || len(addresses) == 0 || len(c.Ports) == 0 {
		return
	}
	port := c.Ports[0]
	n.Endpoint = net.JoinHostPort(addresses[0], strconv.Itoa(port.Port))
	if port.Name == "http" || port.Name == "https" {
		n.Endpoint = port.Name + "://" + n.Endpoint
	}
}
