package outage

import (
	"net/http"
	"strconv"
)

// notReadyRetry is after how many seconds a request is sent again which an API server has refused that is not ready yet.
const notReadyRetry = 1

// Transport returns next as one whose requests do not wait for longer than a second where the API server answers that it is
// not ready (503) and when to come again (Retry-After). The client library waits that long; an API server that is starting
// asks for five seconds, and is mostly ready much sooner. It fits rest.Config.Wrap.
func Transport(next http.RoundTripper) http.RoundTripper { return transport{next} }

type transport struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(request)
	if err == nil && response.StatusCode == http.StatusServiceUnavailable {
		if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > notReadyRetry {
			response.Header.Set("Retry-After", strconv.Itoa(notReadyRetry))
		}
	}
	return response, err
}

// WrappedRoundTripper lets the client library look inside.
func (t transport) WrappedRoundTripper() http.RoundTripper { return t.next }
