package rights

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rollcall-dev/rollcall/internal/manager"
	"github.com/rollcall-dev/rollcall/internal/metricsauth"
)

func TestMetricsNeedAToken(t *testing.T) {
	s := newScene(t, newBroker(t))
	s.allow(s.namespaced(managerRole, leaderRole, metricsAuthRole))
	s.start()
	reader := s.token("reader")
	s.bind(s.metricsReader(), "reader")
	s.Within(patience, "the metrics", func() bool { return s.scrape("https", reader) == http.StatusOK })
	for name, test := range map[string]struct {
		scheme, token string
		want          int
	}{
		"no token":                      {"https", "", http.StatusUnauthorized},
		"an unknown token":              {"https", "nonsense", http.StatusInternalServerError},
		"a token without the right":     {"https", s.token("stranger"), http.StatusForbidden},
		"the right token, but no TLS":   {"http", reader, http.StatusBadRequest},
		"the right token, the TLS port": {"https", reader, http.StatusOK},
	} {
		if got := s.scrape(test.scheme, test.token); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

// namespaced returns the rules of roles.
func (s *scene) namespaced(files ...string) []rbacv1.PolicyRule {
	s.Helper()
	var all []rbacv1.PolicyRule
	for _, file := range files {
		all = append(all, rules(s, file)...)
	}
	return all
}

func TestMetricsWithoutTLS(t *testing.T) {
	s := newScene(t, newBroker(t))
	s.options.MetricsSecure = false
	s.allow(s.namespaced(managerRole, leaderRole))
	s.start()
	s.Within(patience, "the metrics", func() bool { return s.scrape("http", "") == http.StatusOK })
	if refused := log.refusals(s.user); len(refused) > 0 {
		t.Errorf("the manager was refused %v", refused)
	}
}

// TestMetricsCertificate: the certificate is that of the directory, and one that can't be read is no reason to take another.
func TestMetricsCertificate(t *testing.T) {
	s := newScene(t, newBroker(t))
	directory := t.TempDir()
	s.options.MetricsCertPath = directory
	s.allow(s.namespaced(managerRole, leaderRole, metricsAuthRole))
	if _, err := manager.New(t.Context(), s.config, s.options); err == nil || !strings.Contains(err.Error(), "certificate of the metrics") {
		t.Errorf("without a certificate in the directory: %v", err)
	}
	https := httptest.NewTLSServer(nil)
	https.Close()
	key, err := x509.MarshalPKCS8PrivateKey(https.TLS.Certificates[0].PrivateKey)
	must(t, err)
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: https.Certificate().Raw}, "tls.key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		must(t, os.WriteFile(filepath.Join(directory, name), pem.EncodeToMemory(block), 0o600))
	}
	s.start()
	trusting := &tls.Config{RootCAs: x509.NewCertPool()}
	trusting.RootCAs.AddCert(https.Certificate())
	s.Within(patience, "an answer", func() bool {
		conn, err := tls.Dial("tcp", s.metrics, trusting)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
}

// TestNamespacedModeWithoutClusterRights: with Roles alone everything works but the metrics, and it is said why.
func TestNamespacedModeWithoutClusterRights(t *testing.T) {
	s := newScene(t, newBroker(t))
	s.options.ClusterName = "here"
	s.allow(slices.DeleteFunc(s.namespaced(managerRole, leaderRole, metricsAuthRole), clusterWide))
	api, err := client.New(s.config, client.Options{Scheme: s.API.Scheme()})
	must(t, err)
	missing := metricsauth.Check(t.Context(), api)
	for _, want := range []string{"no right to create tokenreviews.authentication.k8s.io", "no right to create subjectaccessreviews.authorization.k8s.io"} {
		if missing == nil || !strings.Contains(missing.Error(), want) {
			t.Errorf("what is missing: %v; want %q", missing, want)
		}
	}
	s.start()
	for _, happened := range []func(*scene) func() bool{theServiceHasEndpoints, theGateIsSet, theRegistrationHasItsStatus, theLeaseIsRenewed} {
		s.Within(patience, "everything else", happened(s))
	}
	token := s.token("reader")
	s.Within(patience, "the metrics to be refused", func() bool { return s.scrape("https", token) == http.StatusInternalServerError })
}
