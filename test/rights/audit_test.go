package rights

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// policy has the API server write down who asked for what, and whether that was allowed, but nothing of the content.
const policy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    userGroups: ["system:serviceaccounts"]
  - level: None
`

// request is one request of a service account, as the API server saw it.
type request struct {
	right           right
	namespace, name string
	allowed         bool
}

// auditLog is the API server's audit log. It is safe for concurrent use.
type auditLog struct {
	mu       sync.Mutex
	file     *bufio.Reader
	half     string
	requests map[string][]request // by user
}

// of returns what a user has asked for so far.
func (a *auditLog) of(user string) []request {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		file, err := os.Open(env.AuditLog)
		if err != nil {
			panic(err)
		}
		a.file, a.requests = bufio.NewReader(file), map[string][]request{}
	}
	for {
		line, err := a.file.ReadString('\n')
		if errors.Is(err, io.EOF) {
			a.half += line
			return slices.Clone(a.requests[user])
		}
		if err != nil {
			panic(err)
		}
		a.add(a.half + line)
		a.half = ""
	}
}

func (a *auditLog) add(line string) {
	var event auditv1.Event
	if err := json.Unmarshal([]byte(line), &event); err != nil {
		panic(err)
	}
	if event.ObjectRef == nil {
		return
	}
	ref := event.ObjectRef
	resource := ref.Resource
	if ref.APIGroup != "" {
		resource += "." + ref.APIGroup
	}
	if ref.Subresource != "" {
		resource += "/" + ref.Subresource
	}
	a.requests[event.User.Username] = append(a.requests[event.User.Username], request{
		right: right{event.Verb, resource}, namespace: ref.Namespace, name: ref.Name,
		allowed: event.ResponseStatus == nil || event.ResponseStatus.Code != http.StatusForbidden,
	})
}

// refusals returns how often a user was refused each right.
func (a *auditLog) refusals(user string) map[right]int {
	refused := map[right]int{}
	for _, r := range a.of(user) {
		if !r.allowed {
			refused[r.right]++
		}
	}
	return refused
}

// used returns the rights of which a user made use.
func (a *auditLog) used(user string) map[right]bool {
	used := map[right]bool{}
	for _, r := range a.of(user) {
		if r.allowed {
			used[r.right] = true
		}
	}
	return used
}
