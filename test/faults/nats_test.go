package faults

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// natsConfig names the configuration file of a child that is a NATS server.
const natsConfig = "ROLLCALL_FAULTS_NATS_CONFIG"

// serveNATS runs a NATS server and never returns, if this process was started for that.
func serveNATS() {
	file := os.Getenv(natsConfig)
	if file == "" {
		return
	}
	go endWithParent()
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s, err := server.NewServer(options)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s.ConfigureLogger()
	s.Start()
	s.WaitForShutdown()
	os.Exit(0)
}

// natsServer is a NATS server in a process of its own, which keeps its ports and its store over a restart.
type natsServer struct {
	t             *testing.T
	dir, config   string
	port, monitor int
	process       *process
	// binary is a NATS server of its own, with variables of its environment; empty: this program serves.
	binary string
	env    []string
}

// newNATS returns a server that has not been started. domain is its JetStream domain, which may be empty, and extra is added
// to its configuration.
func newNATS(t *testing.T, dir, name, domain, extra string) *natsServer {
	t.Helper()
	ports := freePorts(t, 2)
	s := &natsServer{t: t, dir: filepath.Join(dir, name), port: ports[0], monitor: ports[1]}
	s.config = s.dir + ".conf"
	if domain != "" {
		domain = "domain: " + domain
	}
	text := fmt.Sprintf("server_name: %s\nhost: 127.0.0.1\nport: %d\nhttp: \"127.0.0.1:%d\"\njetstream { store_dir: %q\n%s }\n%s\n",
		name, s.port, s.monitor, s.dir, domain, extra)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// freePorts finds free ports.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports, err := natstest.FreePorts(n)
	must(t, err)
	return ports
}

func (s *natsServer) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

func (s *natsServer) url() string { return "nats://" + s.address() }

// start starts the server, and waits until it is reached.
func (s *natsServer) start() {
	s.t.Helper()
	s.launch()
	poll(s.t, patience, "the NATS server to answer", func() bool {
		c, err := net.DialTimeout("tcp", s.address(), time.Second)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})
}

// launch starts the server and does not wait.
func (s *natsServer) launch() {
	s.t.Helper()
	if s.binary != "" {
		s.process = spawn(s.t, s.dir+".log", s.env, s.binary, "-c", s.config)
		return
	}
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	s.process = spawn(s.t, s.dir+".log", []string{natsConfig + "=" + s.config}, self)
}

// kill is kill -9.
func (s *natsServer) kill() {
	s.t.Helper()
	must(s.t, s.process.kill())
}

// wipe removes the store of a server that is stopped: what a lost volume looks like.
func (s *natsServer) wipe() {
	s.t.Helper()
	must(s.t, os.RemoveAll(s.dir))
}

func (s *natsServer) pause() {
	s.t.Helper()
	must(s.t, s.process.pause())
}

func (s *natsServer) resume() {
	s.t.Helper()
	must(s.t, s.process.resume())
}

// count is what the server itself counts.
type count struct{ Connections, Subscriptions, Consumers int }

func (s *natsServer) count() (c count) {
	s.t.Helper()
	var connz struct {
		Connections []struct {
			Name          string `json:"name"`
			Subscriptions int    `json:"subscriptions"`
		} `json:"connections"`
	}
	s.ask("/connz", &connz)
	for _, each := range connz.Connections {
		if each.Name == "rollcall" {
			c.Connections++
			c.Subscriptions += each.Subscriptions
		}
	}
	var jsz struct {
		Consumers int `json:"consumers"`
	}
	s.ask("/jsz", &jsz)
	c.Consumers = jsz.Consumers
	return c
}

func (s *natsServer) ask(path string, answer any) {
	s.t.Helper()
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", s.monitor, path))
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		s.t.Fatal(err)
	}
}
