// Caller calls a URL again and again, each time over a new connection, and counts who answered and what failed. GET answers
// with its tally so far. POST begins a new one, and answers with the old one once no call of its time is under way.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rollcall-dev/rollcall/test/e2e/tally"
)

func main() {
	url := flag.String("url", "", "URL to call")
	every := flag.Duration("every", 20*time.Millisecond, "time between two calls")
	timeout := flag.Duration("timeout", 5*time.Second, "how long an answer may take")
	listen := flag.String("listen", ":8080", "address that tells the tally")
	flag.Parse()
	c := &caller{url: *url, timeout: *timeout, period: &period{tally: tally.New()}}
	c.client.Transport = &http.Transport{DisableKeepAlives: true}
	go c.callEvery(*every)
	server := &http.Server{Addr: *listen, Handler: c, ReadHeaderTimeout: *timeout}
	log.Fatal(server.ListenAndServe())
}

type caller struct {
	url     string
	timeout time.Duration
	client  http.Client

	mu     sync.Mutex // Guards the fields below and what they hold.
	period *period
}

// period is the time of one tally.
type period struct {
	tally    *tally.Tally
	underWay sync.WaitGroup
}

// callEvery makes a call at every tick, whether the ones before have been answered or not.
func (c *caller) callEvery(interval time.Duration) {
	for at := range time.Tick(interval) {
		c.mu.Lock()
		now := c.period
		now.underWay.Add(1)
		c.mu.Unlock()
		go c.count(now, at)
	}
}

func (c *caller) count(in *period, at time.Time) {
	defer in.underWay.Done()
	server, err := c.call()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		in.tally.Failed(at, err.Error())
		return
	}
	in.tally.Answered(at, server)
}

func (c *caller) call() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return "", err
	}
	response, err := c.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", response.Status)
	}
	return strings.TrimSpace(string(body)), err
}

// ServeHTTP tells the tally.
func (c *caller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	told := c.period
	if r.Method == http.MethodPost {
		c.period = &period{tally: tally.New()}
	}
	c.mu.Unlock()
	if r.Method == http.MethodPost {
		told.underWay.Wait()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := json.NewEncoder(w).Encode(told.tally); err != nil {
		log.Print(err)
	}
}
