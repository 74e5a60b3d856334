package outage

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestAServerThatIsNotReadyIsAskedAgainAfterASecond(t *testing.T) {
	for name, test := range map[string]struct {
		code        int
		asked, want string
	}{
		"not ready":           {code: http.StatusServiceUnavailable, asked: "5", want: "1"},
		"not ready, soon":     {code: http.StatusServiceUnavailable, asked: "0", want: "0"},
		"not ready, no hint":  {code: http.StatusServiceUnavailable},
		"too many requests":   {code: http.StatusTooManyRequests, asked: "5", want: "5"},
		"not ready, at a day": {code: http.StatusServiceUnavailable, asked: "Mon, 23 Nov 2026 00:00:00 GMT", want: "Mon, 23 Nov 2026 00:00:00 GMT"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if test.asked != "" {
				w.Header().Set("Retry-After", test.asked)
			}
			w.WriteHeader(test.code)
		}))
		response, err := (&http.Client{Transport: Transport(http.DefaultTransport)}).Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		if got := response.Header.Get("Retry-After"); got != test.want {
			t.Errorf("%s: asked to come again after %q", name, got)
		}
		_ = response.Body.Close()
		server.Close()
	}
}
