package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rollcall-dev/rollcall/discovery"
)

// libraryURL names the NATS server that a child follows with the library.
const libraryURL = "ROLLCALL_FAULTS_LIBRARY_URL"

// change is what such a child prints about a node, one a line.
type change struct{ ID, Address string }

// followRegistry follows a registry and never returns, if this process was started for that.
func followRegistry() {
	server := os.Getenv(libraryURL)
	if server == "" {
		return
	}
	go endWithParent()
	if err := printChanges(server); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(1)
}

// printChanges prints every node that comes, moves or goes.
func printChanges(server string) error {
	nc, err := nats.Connect(server, discovery.ConnectOptions()...)
	if err != nil {
		return err
	}
	registry, err := discovery.Open(context.Background(), nc, discovery.Options{NoCreate: true})
	if err != nil {
		return err
	}
	addresses := map[string]string{}
	out := json.NewEncoder(os.Stdout)
	for e := range registry.Watch(context.Background()) {
		address := ""
		if e.Type != discovery.Left {
			endpoint, err := url.Parse(e.Node.Endpoint)
			if err != nil {
				return err
			}
			address = endpoint.Hostname()
		}
		if addresses[e.ID] == address {
			continue
		}
		addresses[e.ID] = address
		if err := out.Encode(change{e.ID, address}); err != nil {
			return err
		}
	}
	return registry.Err()
}

// spawnFollower starts a program that follows the registry with the library, and returns what it shows.
func (r *rig) spawnFollower(server string) (*process, *view) {
	r.Helper()
	self, err := os.Executable()
	must(r, err)
	log := filepath.Join(r.dir, "library.log")
	must(r, os.RemoveAll(log))
	program := spawn(r.T, log, []string{libraryURL + "=" + server}, self)
	file, err := os.Open(log)
	must(r, err)
	v, done, ended := newView(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		follow(file, v, done)
	}()
	r.Cleanup(func() {
		close(done)
		<-ended
		_ = file.Close()
	})
	return program, v
}

// follow notes what is added to a file, until done is closed.
func follow(file *os.File, v *view, done <-chan struct{}) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	var rest []byte
	block := make([]byte, 64<<10)
	for {
		n, _ := file.Read(block) // There may be nothing yet.
		rest = append(rest, block[:n]...)
		for {
			line, after, whole := bytes.Cut(rest, []byte("\n"))
			if !whole {
				break
			}
			rest = after
			var c change
			if json.Unmarshal(line, &c) != nil {
				continue // It is not about a node.
			}
			var shown []string
			if c.Address != "" {
				shown = []string{entity(c.ID, c.Address)}
			}
			v.set(c.ID, shown)
		}
		select {
		case <-done:
			return
		case <-ticker.C:
		}
	}
}
