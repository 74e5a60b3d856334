package agent

import (
	"flag"
	"log/slog"
	"time"

	"github.com/rollcall-dev/rollcall/discovery"
)

// BindFlags defines the agent's flags, from which docs/reference/agent-flags.md is made. Every one can be given in the
// environment instead, see [Variable].
func BindFlags(flags *flag.FlagSet, c *Config) {
	bindConnection(flags, c)
	bindNode(flags, c)
	bindHeartbeat(flags, c)
	bindHealth(flags, &c.Health)
	flags.StringVar(&c.ProbeAddress, "health-probe-bind-address", "0", "Address of the endpoints /healthz and /readyz; 0 turns them off.")
	flags.TextVar(&c.LogLevel, "log-level", slog.LevelInfo, "The least `level` of what is logged: DEBUG, INFO, WARN or ERROR.")
	flags.StringVar(&c.LogFormat, "log-format", "text", "The `format` of the log: text or json.")
}

func bindConnection(flags *flag.FlagSet, c *Config) {
	flags.Var((*list)(&c.Servers), "servers", "The `URLs` of NATS servers, with commas between; nats, tls, ws or wss. Required.")
	flags.StringVar(&c.Login.CredentialsFile, "credentials-file", "", "A `file` with a user's JWT and seed, as nsc writes it, to log in with.")
	flags.StringVar(&c.Login.NKeyFile, "nkey-file", "", "A `file` with the seed of a user NKey to log in with.")
	flags.StringVar(&c.Login.Token, "token", "", "Token to log in with. Others on the machine see a flag: rather give the variable or a file.")
	flags.StringVar(&c.Login.TokenFile, "token-file", "", "A `file` with the token to log in with.")
	flags.StringVar(&c.Login.Username, "username", "", "User to log in as.")
	flags.StringVar(&c.Login.Password, "password", "", "Password of --username. Others on the machine see a flag: rather give the variable or a file.")
	flags.StringVar(&c.Login.PasswordFile, "password-file", "", "A `file` with the password of --username.")
	flags.BoolVar(&c.TLS.Required, "tls", false, "Refuse a connection without TLS. Every other --tls flag does so too.")
	flags.StringVar(&c.TLS.CAFile, "tls-ca-file", "", "A `file` with the authorities that sign the servers' certificates. Default: those of the system.")
	flags.StringVar(&c.TLS.CertificateFile, "tls-certificate-file", "", "A `file` with the certificate to show to the server.")
	flags.StringVar(&c.TLS.KeyFile, "tls-key-file", "", "A `file` with the private key of --tls-certificate-file.")
	flags.StringVar(&c.TLS.ServerName, "tls-server-name", "", "The `name` that the servers' certificate must be for. Default: the host of the URL.")
	flags.StringVar(&c.Domain, "jetstream-domain", "", "JetStream domain of the bucket. Default: the connection's own.")
	flags.StringVar(&c.InboxPrefix, "inbox-prefix", "", "The `prefix` of the subjects on which answers are received. Default: _INBOX.")
	flags.StringVar(&c.Bucket, "bucket", discovery.DefaultBucket, "Bucket to register in.")
	flags.StringVar(&c.KeyPrefix, "key-prefix", discovery.DefaultKeyPrefix, "What the node's key starts with; the node ID follows.")
	flags.BoolVar(&c.CreateBucket, "create-bucket", false, "Create the bucket if it is missing. Default: wait for somebody else to.")
	flags.DurationVar(&c.BucketTTL, "bucket-ttl", discovery.DefaultTTL, "TTL of the bucket that --create-bucket creates.")
}

func bindNode(flags *flag.FlagSet, c *Config) {
	flags.StringVar(&c.NodeID, "node-id", "", "ID of the node. Default: the host name, or POD_NAMESPACE.POD_NAME.")
	flags.StringVar(&c.Name, "name", "", "Name of the node for people. Default: POD_NAME, if set.")
	flags.StringVar(&c.Endpoint, "endpoint", "", "URL or host:port at which the node is reached, with an IP address as its host.")
	flags.Var((*list)(&c.Addresses), "addresses", "The IP `addresses` at which the node is reached, with commas between. Default: that of --endpoint, else POD_IPS or POD_IP, else that of the interface that leads to the NATS server.")
	flags.Var((*ports)(&c.Ports), "ports", "The `ports` at which the node is reached, with commas between: number, name:number or name:number/protocol. Default: that of --endpoint.")
	flags.StringVar(&c.Zone, "zone", "", "Zone in which the node is.")
	flags.Var((*metadata)(&c.Metadata), "metadata", "A `key=value` for the record's metadata; can be given more than once. In the environment, with commas between. NODE_NAME, if set, becomes the key node.")
	flags.StringVar(&c.Owner, "owner", "", "What tells this agent from another one with the same node ID: an entry of another owner is left alone. Default: POD_UID, else a digest of the machine ID, else the host name.")
}

func bindHeartbeat(flags *flag.FlagSet, c *Config) {
	flags.DurationVar(&c.Interval, "heartbeat-interval", discovery.DefaultHeartbeatInterval, "Longest time between two heartbeats; at most a third of the bucket's TTL.")
	flags.DurationVar(&c.GracePeriod, "grace-period", 5*time.Second, "How long to try to unregister the node before the agent ends.")
	flags.StringVar(&c.Load.Source, "load", loadAverage, "The `source` of the load: average is the machine's load average of a minute, divided by its processors; none is none.")
	flags.StringVar(&c.Load.Command, "load-command", "", "A `command` for the shell that prints the load, a number, instead of --load.")
	flags.DurationVar(&c.Load.Timeout, "load-timeout", 2*time.Second, "How long --load-command may take; at most --heartbeat-interval.")
}

func bindHealth(flags *flag.FlagSet, h *Health) {
	flags.StringVar(&h.HTTP, "health-http", "", "A `URL` that answers 200 to 399 while the node is healthy.")
	flags.StringVar(&h.TCP, "health-tcp", "", "A `host:port` that accepts connections while the node is healthy.")
	flags.StringVar(&h.Command, "health-command", "", "A `command` for the shell that exits with 0 while the node is healthy.")
	flags.DurationVar(&h.Interval, "health-interval", 5*time.Second, "Time from one health check to the next.")
	flags.DurationVar(&h.Timeout, "health-timeout", 2*time.Second, "How long a health check may take.")
	flags.IntVar(&h.Failures, "health-failures", 3, "How many checks in a row must fail for the node to be unhealthy.")
	flags.IntVar(&h.Successes, "health-successes", 1, "How many checks in a row must succeed for the node to be healthy.")
	flags.BoolVar(&h.Drain, "health-drain", false, "Keep an unhealthy node registered, as draining. Default: unregister it.")
}
