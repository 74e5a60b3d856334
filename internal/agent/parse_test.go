package agent

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-dev/rollcall/discovery"
)

func environment(pairs ...string) Environment {
	values := map[string]string{}
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		values[name] = value
	}
	return func(name string) (string, bool) {
		value, ok := values[name]
		return value, ok
	}
}

func TestParsePort(t *testing.T) {
	for _, test := range []struct {
		text string
		want discovery.Port
		ok   bool
	}{
		{"8080", discovery.Port{Port: 8080}, true},
		{"http:8080", discovery.Port{Name: "http", Port: 8080}, true},
		{"dns:53/udp", discovery.Port{Name: "dns", Port: 53, Protocol: "UDP"}, true},
		{"53/UDP", discovery.Port{Port: 53, Protocol: "UDP"}, true},
		{"http", discovery.Port{}, false},
		{"http:", discovery.Port{}, false},
		{"", discovery.Port{}, false},
		{"http:8080:1", discovery.Port{}, false},
		// A Service named rollcall puts such a value into every pod of its namespace, under another name than ours.
		{"tcp://10.0.0.1:8080", discovery.Port{}, false},
	} {
		got, err := parsePort(test.text)
		if (err == nil) != test.ok || test.ok && got != test.want {
			t.Errorf("%q: %+v, %v", test.text, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), "http:8080 or dns:53/UDP") {
			t.Errorf("%q: %v does not say what to write", test.text, err)
		}
	}
}

func TestAFlagGoesBeforeAVariable(t *testing.T) {
	c, err := Parse([]string{"--servers", "nats://a", "--zone", "flag", "--ports", "a:1,b:2", "--ports", "c:3/UDP", "--metadata", "a=1,2", "--metadata", "b=", "--node-id", "n"},
		environment("ROLLCALL_SERVERS=nats://b", "ROLLCALL_ZONE=variable", "ROLLCALL_NAME=variable", "ROLLCALL_HEALTH_DRAIN=", "ROLLCALL_BUCKET="), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{Servers: []string{"nats://a"}, Zone: "flag", Name: "variable", Bucket: discovery.DefaultBucket,
		Ports: []discovery.Port{{Name: "a", Port: 1}, {Name: "b", Port: 2}, {Name: "c", Port: 3, Protocol: "UDP"}}, Metadata: map[string]string{"a": "1,2", "b": ""}}
	got := Config{Servers: c.Servers, Zone: c.Zone, Name: c.Name, Bucket: c.Bucket, Ports: c.Ports, Metadata: c.Metadata}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestIdentity(t *testing.T) {
	machine := machineIDs
	t.Cleanup(func() { machineIDs = machine })
	file := filepath.Join(t.TempDir(), "machine-id")
	if err := os.WriteFile(file, []byte("0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := func() (string, error) { return "host", nil }
	pod := []string{"POD_NAME=web-0", "POD_NAMESPACE=fleet", "POD_UID=uid", "POD_IP=10.0.0.1"}
	for name, test := range map[string]struct {
		given      Config
		variables  []string
		machineIDs []string
		hostname   func() (string, error)
		want       Config
		fails      string
	}{
		"a machine":               {machineIDs: []string{file}, hostname: host, want: Config{NodeID: "host", Owner: digest("0123456789abcdef0123456789abcdef")}},
		"a machine without an ID": {hostname: host, machineIDs: []string{file + "x"}, want: Config{NodeID: "host", Owner: "host"}},
		"a pod":                   {variables: pod, want: Config{NodeID: "fleet.web-0", Name: "web-0", Owner: "uid", Addresses: []string{"10.0.0.1"}}},
		"a pod with two addresses": {variables: append(pod, "POD_IPS=10.0.0.1,fd00::1"),
			want: Config{NodeID: "fleet.web-0", Name: "web-0", Owner: "uid", Addresses: []string{"10.0.0.1", "fd00::1"}}},
		"a pod that has an endpoint": {given: Config{Endpoint: "http://10.0.0.9:80"}, variables: pod,
			want: Config{NodeID: "fleet.web-0", Name: "web-0", Owner: "uid", Endpoint: "http://10.0.0.9:80"}},
		"a node":           {given: Config{NodeID: "n", Owner: "o"}, variables: []string{"NODE_NAME=worker"}, want: Config{NodeID: "n", Owner: "o", Metadata: map[string]string{"node": "worker"}}},
		"a node that says": {given: Config{NodeID: "n", Owner: "o", Metadata: map[string]string{"node": "x"}}, variables: []string{"NODE_NAME=worker"}, want: Config{NodeID: "n", Owner: "o", Metadata: map[string]string{"node": "x"}}},
		"half a pod":       {variables: []string{"POD_NAME=web-0"}, fails: "POD_NAMESPACE is not"},
		"no name":          {hostname: func() (string, error) { return "", errors.New("none") }, fails: "give --node-id"},
	} {
		t.Run(name, func(t *testing.T) {
			machineIDs = test.machineIDs
			err := test.given.complete(environment(test.variables...), test.hostname)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("%v, want %q", err, test.fails)
				}
				return
			}
			if diff := cmp.Diff(test.want, test.given); err != nil || diff != "" {
				t.Error(err, diff)
			}
		})
	}
}

// Every setting that can't work is refused with the flag to correct.
func TestValidate(t *testing.T) {
	for arguments, want := range map[string]string{
		"":                                            "",
		"--ports=":                                    "a part between two commas|is no port",
		"--ports=http:0":                              "port 0 is out of range",
		"--ports=a:80,a:81":                           "two ports have the name",
		"--ports=a:80/ICMP":                           "use TCP, UDP or SCTP",
		"--addresses=web.example.com":                 "is a host name, an IP address is expected",
		"--endpoint=http://web.example.com":           "is a host name",
		"--key-prefix=..":                             "give another --node-id or --key-prefix",
		"--node-id=.":                                 "give another --node-id",
		"--heartbeat-interval=1ms":                    "use 100ms or more",
		"--grace-period=0":                            "--grace-period is 0s",
		"--create-bucket --bucket-ttl=-1s":            "--bucket-ttl is -1s",
		"--load=high":                                 "use average or none",
		"--load-command=x --load-timeout=11s":         "at most the --heartbeat-interval of 10s",
		"--credentials-file=a --nkey-file=b":          "several ways to log in",
		"--token=a --token-file=b":                    "the token is given twice",
		"--username=a --password=b --password-file=c": "the password is given twice",
		"--password=a":                                "give --username",
		"--tls-key-file=a":                            "give both --tls-certificate-file and --tls-key-file",
		"--health-http=http://a --health-tcp=a:1":     "several health checks",
		"--health-http=localhost:80":                  "give a URL",
		"--health-tcp=localhost":                      "give host:port",
		"--health-command=x --health-interval=0":      "--health-interval is 0s",
		"--health-command=x --health-timeout=0":       "--health-timeout is 0s",
		"--health-command=x --health-failures=0":      "use 1 or more",
		"--health-drain":                              "needs a health check",
		"--log-format=xml":                            "use text or json",
		"--log-level=loud":                            "see --help",
		"--metadata=role":                             `"role" is no key=value`,
		"--servers=":                                  "a part between two commas is empty",
	} {
		_, err := Parse(append([]string{"--servers=nats://a", "--node-id=n", "--ports=http:80"}, strings.Fields(arguments)...), environment(), io.Discard)
		if want == "" {
			if err != nil {
				t.Errorf("%q: %v", arguments, err)
			}
			continue
		}
		matches := false
		for part := range strings.SplitSeq(want, "|") {
			matches = matches || err != nil && strings.Contains(err.Error(), part)
		}
		if _, wrong := errors.AsType[*ConfigError](err); !matches || !wrong {
			t.Errorf("%q: %v, want %q", arguments, err, want)
		}
	}
	if _, err := Parse([]string{"--servers=nats://a", "--node-id=n"}, environment(), io.Discard); err == nil || !strings.Contains(err.Error(), "give --ports") {
		t.Errorf("without a port: %v", err)
	}
}

func TestJudge(t *testing.T) {
	j := judge{failures: 3, successes: 2}
	for i, test := range []struct{ success, changes, healthy bool }{
		{true, false, false}, {false, false, false}, {true, false, false}, {true, true, true}, // two in a row
		{false, false, true}, {false, false, true}, {true, false, true}, // two of three
		{false, false, true}, {false, false, true}, {false, true, false}, {false, false, false},
	} {
		if changes := j.hear(test.success); changes != test.changes || j.healthy != test.healthy {
			t.Errorf("result %d: changes is %v, healthy %v", i, changes, j.healthy)
		}
	}
}

func TestAverageLoad(t *testing.T) {
	proc := t.TempDir()
	if _, err := averageLoad(proc); err == nil {
		t.Error("there is a load without /proc/loadavg")
	}
	if err := os.WriteFile(filepath.Join(proc, "loadavg"), []byte("8.00 4.00 2.00 1/234 5678\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := averageLoad(proc)
	if err != nil || got <= 0 || got > 8 {
		t.Errorf("%v, %v", got, err)
	}
}

// No flag may have a variable that Kubernetes sets by itself, for a Service named rollcall in the pod's namespace.
func TestNoVariableIsThatOfAService(t *testing.T) {
	for _, flag := range []string{"port", "service-host", "service-port"} {
		if _, err := Parse([]string{"--" + flag, "1"}, environment(), io.Discard); err == nil {
			t.Errorf("there is a flag --%s, and Kubernetes sets %s", flag, Variable(flag))
		}
	}
	_, err := Parse([]string{"--servers=nats://a", "--node-id=n", "--ports=80", "--heartbeat-interval", (10 * time.Second).String()},
		environment("ROLLCALL_PORT=tcp://10.0.0.1:8080", "ROLLCALL_SERVICE_HOST=10.0.0.1"), io.Discard)
	if err != nil {
		t.Error(err)
	}
}
