// Package gomicrotest makes entries of a bucket as go-micro's nats-js-kv registry keeps them, for tests: the registry of a
// small ownCloud Infinite Scale and OpenCloud, made from the description of the format.
package gomicrotest

import (
	_ "embed"
	"encoding/base32"
	"encoding/json"
	"fmt"
)

// Entry is one entry of the bucket.
type Entry struct {
	// Key is the key in the bucket.
	Key string `json:"key"`
	// Value is the value under that key.
	Value json.RawMessage `json:"value"`
}

type envelope struct {
	Key      string         `json:"key"`
	Data     []byte         `json:"data"`
	Metadata map[string]any `json:"metadata"`
}

type service struct {
	Name      string            `json:"name"`
	Version   string            `json:"version"`
	Metadata  map[string]string `json:"metadata"`
	Endpoints []endpoint        `json:"endpoints"`
	Nodes     []node            `json:"nodes"`
}

type endpoint struct {
	Name     string            `json:"name"`
	Request  *value            `json:"request"`
	Response *value            `json:"response"`
	Metadata map[string]string `json:"metadata"`
}

type value struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Values []*value `json:"values"`
}

type node struct {
	ID       string            `json:"id"`
	Address  string            `json:"address"`
	Metadata map[string]string `json:"metadata"`
}

// server is the ID that every service of one process has.
const server = "8d4c9f0e-6c0b-4d0c-9a53-3f1c2b7a6e5d"

// services are what is registered: name, address and protocol.
var services = []struct{ name, version, address, protocol string }{
	{"com.owncloud.api.gateway", "7.0.0", "10.42.0.11:9142", "grpc"},
	{"com.owncloud.api.users", "7.0.0", "10.42.0.12:9144", "grpc"},
	{"com.owncloud.api.storage-users", "7.0.0", "[fd00:10:42::13]:9157", "grpc"},
	{"com.owncloud.web.frontend", "7.0.0", "10.42.0.14:9140", "http"},
	{"com.owncloud.web.idp", "", "10.42.0.15:9130", "http"},
	{"com.owncloud.api.thumbnails", "7.0.0", "127.0.0.1:9185", "grpc"}, // as a process that listens on its own host only
	{"eu.opencloud.api.gateway", "4.0.0", "10.42.0.21:9142", "grpc"},
	{"eu.opencloud.web.proxy", "4.0.0", "10.42.0.22:9200", "http"},
}

// Entries makes the entries. It makes the same ones every time.
func Entries() ([]Entry, error) {
	entries := make([]Entry, 0, len(services))
	for _, s := range services {
		id := s.name + "-" + server
		data, err := json.Marshal(service{
			Name: s.name, Version: s.version,
			Endpoints: []endpoint{{
				Name: "Service.Call", Metadata: map[string]string{"method": "POST"},
				Request:  &value{Name: "Request", Type: "Request", Values: []*value{{Name: "id", Type: "string"}}},
				Response: &value{Name: "Response", Type: "Response"},
			}},
			Nodes: []node{{ID: id, Address: s.address, Metadata: map[string]string{
				"protocol": s.protocol, "registry": "nats-js-kv", "server": s.protocol, "transport": s.protocol,
			}}},
		})
		if err != nil {
			return nil, err
		}
		key := s.name + "@" + server + "@" + s.version
		wrapped, err := json.Marshal(envelope{Key: key, Data: data})
		if err != nil {
			return nil, err
		}
		entries = append(entries, Entry{Key: base32.StdEncoding.EncodeToString([]byte(key)), Value: wrapped})
	}
	return entries, nil
}

//go:embed testdata/gomicro.json
var fixture []byte

// Fixture returns the entries as they stand in testdata/gomicro.json.
func Fixture() ([]Entry, error) {
	var entries []Entry
	if err := json.Unmarshal(fixture, &entries); err != nil {
		return nil, fmt.Errorf("read testdata/gomicro.json: %w", err)
	}
	return entries, nil
}
