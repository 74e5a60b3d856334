//go:build e2e && linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rollcall-dev/rollcall/test/e2e/tally"
)

const (
	// caller is the pod that calls the Service `web` all the time, callerByName one that calls the machine edge-1 by the name
	// that it has in a headless Service.
	caller       = "caller"
	callerByName = "caller-by-name"
)

// startCaller starts a pod that calls.
func (s *stage) startCaller(name string) {
	s.Helper()
	s.kubectl("--namespace", fleet, "apply", "-f", "manifests/"+name+".yaml")
	s.kubectl("--namespace", fleet, "wait", "pod/"+name, "--for=condition=Ready", "--timeout", patience.String())
}

// calls returns what became of the calls since the time before, when none is under way any more, and begins anew.
func (s *stage) calls() *tally.Tally {
	s.Helper()
	return s.ask(caller, http.MethodPost)
}

// ask asks a pod that calls for its tally, see programs/caller.
func (s *stage) ask(name, method string) *tally.Tally {
	s.Helper()
	pod := get(s, fleet, name, &corev1.Pod{})
	request, err := http.NewRequestWithContext(s.Context(), method, fmt.Sprintf("http://%s:8080/", pod.Status.PodIP), http.NoBody)
	if err != nil {
		s.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.Fatal(err)
	}
	defer response.Body.Close()
	told := tally.New()
	if err := json.NewDecoder(response.Body).Decode(told); err != nil {
		s.Fatal(err)
	}
	return told
}

// answeredBy fails the test unless every call was answered, and by all of these nodes and no other.
func (s *stage) answeredBy(calls *tally.Tally, nodes ...string) {
	s.Helper()
	s.Helper()
	for _, failure := range calls.Failures[:min(len(calls.Failures), 5)] {
		s.Errorf("a call at %v failed: %s", failure.At.Format(time.TimeOnly), failure.Reason)
	}
	answered := slices.Sorted(maps.Keys(calls.By))
	if slices.Sort(nodes); !slices.Equal(answered, nodes) {
		s.Errorf("answered by %v, want %v", answered, nodes)
	}
	s.Logf("%d calls in %.1f s, %d failed; answers: %s", calls.Requests, time.Since(calls.Since).Seconds(), len(calls.Failures), counts(calls))
}

func counts(calls *tally.Tally) string {
	var texts []string
	for _, node := range slices.Sorted(maps.Keys(calls.By)) {
		texts = append(texts, fmt.Sprintf("%s %d", node, calls.By[node].Count))
	}
	return strings.Join(texts, ", ")
}

// inSlices fails the test unless the Service's slices have exactly these nodes' addresses, ready, in time. It returns when
// that was seen.
func (s *stage) inSlices(limit time.Duration, nodes ...string) time.Time {
	s.Helper()
	var want []string
	for _, node := range nodes {
		want = append(want, s.hosts[node].Address)
	}
	slices.Sort(want)
	s.within(limit, fmt.Sprintf("the EndpointSlices of web hold %v", nodes), func(ctx context.Context) error {
		list := &discoveryv1.EndpointSliceList{}
		if err := s.client.List(ctx, list, client.InNamespace(fleet), client.MatchingLabels{discoveryv1.LabelServiceName: "web"}); err != nil {
			return err
		}
		if ready := readyAddresses(list); !slices.Equal(ready, want) {
			return fmt.Errorf("they hold %v", ready)
		}
		return nil
	})
	return time.Now()
}

func readyAddresses(list *discoveryv1.EndpointSliceList) []string {
	var ready []string
	for _, slice := range list.Items {
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
				ready = append(ready, endpoint.Addresses...)
			}
		}
	}
	slices.Sort(ready)
	return ready
}
