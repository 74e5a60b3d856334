// Finder looks up, in the bucket, the nodes that have a role, calls each at the address and port that it finds there, and
// prints its ID and what it answers: what a service outside of the cluster does to reach pods.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rollcall-dev/rollcall/discovery"
)

func main() {
	servers := flag.String("servers", "", "URL of a NATS server")
	bucket := flag.String("bucket", discovery.DefaultBucket, "bucket to look into")
	role := flag.String("role", "", "role of the nodes to call")
	timeout := flag.Duration("timeout", 10*time.Second, "how long all of it may take")
	flag.Parse()
	if err := find(*timeout, *servers, *bucket, *role); err != nil {
		log.Fatal(err)
	}
}

func find(timeout time.Duration, servers, bucket, role string) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	connection, err := nats.Connect(servers)
	if err != nil {
		return err
	}
	defer connection.Close()
	registry, err := discovery.Open(ctx, connection, discovery.Options{Bucket: bucket, NoCreate: true})
	if err != nil {
		return err
	}
	defer registry.Close()
	for _, node := range registry.Nodes() {
		if node.Metadata["role"] != role {
			continue
		}
		answer, err := call(ctx, node)
		if err != nil {
			return fmt.Errorf("call %s: %w", node.ID, err)
		}
		fmt.Println(node.ID, answer)
	}
	return nil
}

func call(ctx context.Context, node discovery.Node) (string, error) {
	if len(node.Addresses) == 0 || len(node.Ports) == 0 {
		return "", errors.New("the record has no address or no port")
	}
	address := net.JoinHostPort(node.Addresses[0], strconv.Itoa(node.Ports[0].Port))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return strings.TrimSpace(string(body)), err
}
