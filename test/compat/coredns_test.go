package compat

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin/kubernetes"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

// coreDNS starts CoreDNS' kubernetes plugin, as the Corefile of a cluster does.
func (r *rig) coreDNS() *kubernetes.Kubernetes {
	r.Helper()
	stanza := fmt.Sprintf("kubernetes cluster.local in-addr.arpa {\nkubeconfig %s\nnamespaces %s\n}", r.kubeconfig(), r.Namespace)
	plugin, err := kubernetes.ParseStanza(stanzaOf(stanza))
	if err != nil {
		r.Fatal(err)
	}
	start, stop, err := plugin.InitKubeCache(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	if err := start(); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		if err := stop(); err != nil {
			r.Error(err)
		}
	})
	return plugin
}

func stanzaOf(stanza string) *caddy.Controller {
	controller := caddy.NewTestController("dns", stanza)
	controller.Next()
	return controller
}

// resolve returns what the plugin answers, sorted: addresses, or of SRV records "port target"; or the code of a refusal.
func (r *rig) resolve(plugin *kubernetes.Kubernetes, name string, kind uint16) []string {
	r.Helper()
	writer := dnstest.NewRecorder(&test.ResponseWriter{})
	if _, err := plugin.ServeDNS(r.Context(), writer, new(dns.Msg).SetQuestion(name, kind)); err != nil {
		r.Fatal(err)
	}
	if writer.Msg.Rcode != dns.RcodeSuccess {
		return []string{dns.RcodeToString[writer.Msg.Rcode]}
	}
	var answers []string
	for _, record := range writer.Msg.Answer {
		switch record := record.(type) {
		case *dns.A:
			answers = append(answers, record.A.String())
		case *dns.SRV:
			answers = append(answers, fmt.Sprintf("%d %s", record.Port, record.Target))
		case *dns.PTR:
			answers = append(answers, record.Ptr)
		}
	}
	slices.Sort(answers)
	return answers
}

// TestCoreDNS: a headless Service resolves to the nodes that are ready, and each of them has its ID for a name.
func TestCoreDNS(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.service("fleet", headless)
	r.service("named", headless, targetRef)
	r.service("balanced")
	plugin := r.coreDNS()
	zone := r.Namespace + ".svc.cluster.local."
	for _, c := range []struct {
		name string
		kind uint16
		want []string
	}{
		{"fleet.", dns.TypeA, []string{"10.1.0.1", "10.1.0.2"}},
		{"named.", dns.TypeA, []string{"10.1.0.1", "10.1.0.2"}},
		{"web-b.fleet.", dns.TypeA, []string{"10.1.0.2"}},
		{"web-b.named.", dns.TypeA, []string{"10.1.0.2"}},
		{"leaving.fleet.", dns.TypeA, []string{"NXDOMAIN"}},
		{"cordoned.fleet.", dns.TypeA, []string{"NXDOMAIN"}},
		{"_web._tcp.fleet.", dns.TypeSRV, []string{"8080 web-a.fleet." + zone, "8080 web-b.fleet." + zone}},
		{"_web._tcp.balanced.", dns.TypeSRV, []string{"80 balanced." + zone}},
	} {
		r.Within(patience, fmt.Sprintf("the answer %q to %s", c.want, c.name), func() bool {
			return slices.Equal(r.resolve(plugin, c.name+zone, c.kind), c.want)
		})
	}
	for _, name := range r.resolve(plugin, "2.0.1.10.in-addr.arpa.", dns.TypePTR) {
		if !strings.HasPrefix(name, "web-b.") {
			t.Errorf("10.1.0.2 is called %s", name)
		}
	}
}

// TestCoreDNSPublishesWhoIsNotReady: with publishNotReadyAddresses all nodes resolve, as pods would.
func TestCoreDNSPublishesWhoIsNotReady(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createService("fleet", headless, publishNotReady)
	plugin := r.coreDNS()
	r.Within(patience, "the node that is cordoned to have a name", func() bool {
		return slices.Equal(r.resolve(plugin, "cordoned.fleet."+r.Namespace+".svc.cluster.local.", dns.TypeA), []string{"10.1.0.4"})
	})
}
