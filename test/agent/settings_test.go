package agent

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-dev/rollcall/discovery"
)

func TestTheEnvironmentOfAPod(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	agent := r.start([]string{
		"ROLLCALL_SERVERS=" + r.nats.URL(), "ROLLCALL_PORTS=http:8080", "ROLLCALL_METADATA=role=web,tier=1", "ROLLCALL_HEARTBEAT_INTERVAL=1s",
		"ROLLCALL_LOG_FORMAT=json", "ROLLCALL_ZONE=",
		"POD_NAME=web-0", "POD_NAMESPACE=fleet", "POD_IP=10.1.0.7", "POD_IPS=10.1.0.7,fd00::7", "POD_UID=4711", "NODE_NAME=worker-1",
	})
	n := r.registered("fleet.web-0")
	got := fmt.Sprint(n.Name, n.Addresses, n.Ports, n.Metadata, n.Owner, n.Zone)
	if want := fmt.Sprint("web-0", []string{"10.1.0.7", "fd00::7"}, []discovery.Port{{Name: "http", Port: 8080}},
		map[string]string{"role": "web", "tier": "1", "node": "worker-1"}, &discovery.Owner{UID: "4711"}, ""); got != want {
		t.Errorf("the record says %s, want %s", got, want)
	}
	agent.says(`"msg":"node registered"`, `"node":"fleet.web-0"`)
}

func TestBadSettingsAreRefused(t *testing.T) {
	r := newRig(t)
	good := []string{"--servers", r.nats.URL(), "--node-id", "web-1", "--ports", "http:8080"}
	for name, test := range map[string]struct {
		environment, arguments []string
		says                   string
	}{
		"no server":           {nil, []string{"--ports", "8080"}, "give --servers or ROLLCALL_SERVERS"},
		"a password in a URL": {nil, []string{"--servers", "nats://fleet:secret@127.0.0.1:4222", "--ports", "8080"}, "--servers holds a user or a token"},
		"an unknown flag":     {nil, append(good, "--bukket", "b"), "flag provided but not defined: -bukket; see --help"},
		"an argument":         {nil, append(good, "start"), `the argument "start" is not understood`},
		"a node ID":           {nil, append(good, "--node-id", "web 1"), "use letters, digits and -/_=. without a leading, trailing or double dot; give another --node-id"},
		"a variable":          {[]string{"ROLLCALL_HEARTBEAT_INTERVAL=soon"}, good, "invalid value of ROLLCALL_HEARTBEAT_INTERVAL"},
		"a bucket":            {nil, append(good, "--bucket", "a.b"), "use letters, digits, - and _; see --bucket"},
		"half a pod":          {[]string{"POD_NAME=web-0"}, []string{"--servers", r.nats.URL(), "--ports", "8080"}, "POD_NAMESPACE is not: set it as well"},
		"a file":              {nil, append(good, "--token-file", "/nonexistent"), "--token-file: open /nonexistent: no such file or directory"},
		"an authority":        {nil, append(good, "--tls-ca-file", "/nonexistent"), "/nonexistent: no such file or directory"},
		"a busy probe":        {nil, append(good, "--health-probe-bind-address", strings.TrimPrefix(r.nats.URL(), "nats://")), "--health-probe-bind-address: listen"},
		"an inbox prefix":     {nil, append(good, "--inbox-prefix", "a.>"), "invalid custom prefix"},
		"schemes that clash":  {nil, append(good, "--servers", "ws://127.0.0.1:1"), "not possible with these settings"},
		"stop of what is not": {nil, []string{"stop", "nobody"}, "stop takes the process ID of an agent"},
	} {
		t.Run(name, func(t *testing.T) {
			agent := (&rig{T: t}).start(test.environment, test.arguments...)
			code := 2
			if name == "a busy probe" {
				code = 1
			}
			agent.ends(code)
			agent.says("rollcall-agent: ", test.says)
		})
	}
}

func TestHelpNamesTheFlags(t *testing.T) {
	agent := (&rig{T: t}).start(nil, "--help")
	agent.ends(0)
	agent.says("-heartbeat-interval duration", "-health-http URL")
}

// The preStop hook of a sidecar asks the agent to leave.
func TestStop(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	agent := r.agent()
	r.registered("web-1")
	r.start(nil, "stop", strconv.Itoa(agent.Process.Pid)).ends(0)
	agent.ends(0)
	r.gone("web-1")
	other := exec.Command("sleep", "3600")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	})
	refused := r.start(nil, "stop", strconv.Itoa(other.Process.Pid))
	refused.ends(2)
	refused.says("sleep and no agent")
}

// number reads a number from a file, 0 if there is none yet.
func number(t *testing.T, file string) int {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(content)))
	if err != nil {
		return 0
	}
	return n
}
