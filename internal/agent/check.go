package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// validateTarget refuses a check that can't be made.
func (h Health) validateTarget() error {
	if h.HTTP != "" {
		u, err := url.Parse(h.HTTP)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return refuse("--health-http is %q: give a URL, such as http://127.0.0.1:8080/healthz", h.HTTP)
		}
	}
	if h.TCP != "" {
		if _, port, err := net.SplitHostPort(h.TCP); err != nil || port == "" {
			return refuse("--health-tcp is %q: give host:port, such as 127.0.0.1:8080", h.TCP)
		}
	}
	return nil
}

// check returns the check, whose context bounds how long it may take.
func (h Health) check() func(context.Context) error {
	switch {
	case h.HTTP != "":
		return httpCheck(h.HTTP)
	case h.TCP != "":
		return func(ctx context.Context) error { return checkTCP(ctx, h.TCP) }
	}
	return func(ctx context.Context) error {
		_, err := runCommand(ctx, h.Command)
		return err
	}
}

// httpCheck follows the probes of Kubernetes: 200 to 399 is good, nobody's certificate is looked at, and every check has a
// connection of its own.
func httpCheck(url string) func(context.Context) error {
	client := &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // It asks whether the node answers, not who it is.
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		request.Header.Set("User-Agent", "rollcall-agent")
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode < 200 || response.StatusCode > 399 {
			return fmt.Errorf("%s answers %s", url, response.Status)
		}
		return nil
	}
}

func checkTCP(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}
