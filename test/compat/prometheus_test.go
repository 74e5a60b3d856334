package compat

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	prometheusclient "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	sd "github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	yamlv2 "go.yaml.in/yaml/v2"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// targets are what Prometheus discovers, by the slice they are from.
type targets struct {
	updates chan []*targetgroup.Group
	groups  map[string]*targetgroup.Group
}

// discover starts Prometheus' discovery.
func (r *rig) discover(conf *sd.SDConfig) *targets {
	r.Helper()
	conf.KubeConfig = r.kubeconfig()
	registry := prometheusclient.NewRegistry()
	discoverer, err := conf.NewDiscoverer(discovery.DiscovererOptions{
		Metrics: conf.NewDiscovererMetrics(registry, discovery.NewRefreshMetrics(registry)),
	})
	if err != nil {
		r.Fatal(err)
	}
	ctx, stop := context.WithCancel(r.Context())
	found, done := &targets{updates: make(chan []*targetgroup.Group), groups: map[string]*targetgroup.Group{}}, make(chan struct{})
	go func() {
		defer close(done)
		discoverer.Run(ctx, found.updates)
	}()
	r.Cleanup(func() { stop(); <-done })
	return found
}

// relabeled returns the targets that the rules keep, sorted, each as the labels that it then has.
func (f *targets) relabeled(rules []*relabel.Config) []string {
	for {
		select {
		case groups := <-f.updates:
			for _, group := range groups {
				f.groups[group.Source] = group
			}
			continue
		default:
		}
		break
	}
	var all []string
	for _, group := range f.groups {
		for _, target := range group.Targets {
			if kept := process(group.Labels.Merge(target), rules); kept != "" {
				all = append(all, kept)
			}
		}
	}
	slices.Sort(all)
	return all
}

// process returns a target as "address label=value ...", as it is after the rules; empty if they drop it.
func process(target model.LabelSet, rules []*relabel.Config) string {
	builder := labels.NewBuilder(labels.EmptyLabels())
	for name, value := range target {
		builder.Set(string(name), string(value))
	}
	if !relabel.ProcessBuilder(builder, rules...) {
		return ""
	}
	result := builder.Labels()
	text := result.Get(model.AddressLabel)
	result.Range(func(l labels.Label) {
		if !strings.HasPrefix(l.Name, "__") {
			text += fmt.Sprintf(" %s=%s", l.Name, l.Value)
		}
	})
	return text
}

// TestPrometheus: each endpoint is a target with its zone and its conditions; what it stands for only where the Service asks.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.service("plain")
	r.service("referring", targetRef)
	found := r.discover(&sd.SDConfig{Role: sd.RoleEndpointSlice, NamespaceDiscovery: sd.NamespaceDiscovery{Names: []string{r.Namespace}}})
	var rules []*relabel.Config
	for target, source := range map[string]model.LabelName{
		"a_service": "service_name", "b_port": "endpointslice_port_name", "c_ready": "endpointslice_endpoint_conditions_ready",
		"d_zone": "endpointslice_endpoint_zone", "e_host": "endpointslice_endpoint_hostname",
		"f_kind": "endpointslice_address_target_kind", "g_name": "endpointslice_address_target_name",
	} {
		rules = append(rules, &relabel.Config{
			SourceLabels: model.LabelNames{"__meta_kubernetes_" + source}, Regex: relabel.MustNewRegexp("(.*)"),
			TargetLabel: target, Replacement: "$1", Action: relabel.Replace, NameValidationScheme: model.UTF8Validation,
		})
	}
	want := []string{}
	for _, endpoint := range []string{
		"10.1.0.1:8080 a_service=%s b_port=web c_ready=true d_zone=a e_host=web-a",
		"10.1.0.2:8080 a_service=%s b_port=web c_ready=true d_zone=b e_host=web-b",
		"10.1.0.3:8080 a_service=%s b_port=web c_ready=false d_zone=a e_host=leaving",
		"10.1.0.4:8080 a_service=%s b_port=web c_ready=false d_zone=b e_host=cordoned",
	} {
		_, host, _ := strings.Cut(endpoint, "e_host=")
		want = append(want, fmt.Sprintf(endpoint, "plain"), fmt.Sprintf(endpoint, "referring")+" f_kind=DiscoveredNode g_name=catga."+host)
	}
	slices.Sort(want)
	r.finds(found, rules, want)
}

// finds waits until the discovery has found what is wanted, and nothing else.
func (r *rig) finds(found *targets, rules []*relabel.Config, want []string) {
	r.Helper()
	var got []string
	r.Cleanup(func() {
		if r.Failed() {
			r.Logf("Prometheus last had\n%s\nwanted\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
	r.Within(patience, "Prometheus' targets", func() bool {
		got = found.relabeled(rules)
		return slices.Equal(got, want)
	})
}

// page is docs/scrape-the-fleet.md as far as a machine reads it.
type page struct {
	service corev1.Service
	scrape  struct {
		ScrapeConfigs []struct {
			JobName        string            `yaml:"job_name"`
			Discovery      []*sd.SDConfig    `yaml:"kubernetes_sd_configs"`
			RelabelConfigs []*relabel.Config `yaml:"relabel_configs"`
		} `yaml:"scrape_configs"`
	}
	monitor monitoringv1.ServiceMonitor
}

// readPage reads the page, and fails if a block of it has a field that nobody knows.
func readPage(t *testing.T) *page {
	t.Helper()
	text, err := os.ReadFile("../../docs/scrape-the-fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks [][]byte
	for i, part := range strings.Split(string(text), "```") {
		if block, found := strings.CutPrefix(part, "yaml\n"); found && i%2 == 1 {
			blocks = append(blocks, []byte(block))
		}
	}
	if len(blocks) != 3 {
		t.Fatalf("the page has %d blocks of YAML, not a Service, a configuration and a ServiceMonitor", len(blocks))
	}
	p := &page{}
	for _, err := range []error{
		yaml.UnmarshalStrict(blocks[0], &p.service), yamlv2.UnmarshalStrict(blocks[1], &p.scrape), yaml.UnmarshalStrict(blocks[2], &p.monitor),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	return p
}

// TestScrapeTheFleet: with what docs/scrape-the-fleet.md says Prometheus finds the fleet, and each target has its names.
func TestScrapeTheFleet(t *testing.T) {
	t.Parallel()
	p := readPage(t)
	r := newRig(t)
	r.service("fleet") // Another Service of the same nodes is none of its business.
	p.service.Namespace = r.Namespace
	r.Create(&p.service)
	r.shows(p.service.Name, "10.1.0.1 ready", "10.1.0.2 ready", "10.1.0.3 draining", "10.1.0.4 not ready")

	plain := p.scrape.ScrapeConfigs[0]
	plain.Discovery[0].NamespaceDiscovery.Names = []string{r.Namespace}
	r.finds(r.discover(plain.Discovery[0]), valid(t, plain.RelabelConfigs), []string{
		"10.1.0.1:9100 namespace=" + r.Namespace + " node=web-a registry=catga zone=a",
		"10.1.0.2:9100 namespace=" + r.Namespace + " node=web-b registry=catga zone=b",
		"10.1.0.3:9100 namespace=" + r.Namespace + " node=leaving registry=catga zone=a",
		"10.1.0.4:9100 namespace=" + r.Namespace + " node=cordoned registry=catga zone=b",
	})

	conf, rules := operated(t, &p.monitor)
	conf.NamespaceDiscovery.Names = []string{r.Namespace}
	r.finds(r.discover(conf), valid(t, rules), []string{
		"10.1.0.1:9100 node=web-a registry=catga zone=a",
		"10.1.0.2:9100 node=web-b registry=catga zone=b",
		"10.1.0.3:9100 node=leaving registry=catga zone=a",
		"10.1.0.4:9100 node=cordoned registry=catga zone=b",
	})
}

// valid returns the rules, checked as Prometheus does when it reads them.
func valid(t *testing.T, rules []*relabel.Config) []*relabel.Config {
	t.Helper()
	for _, rule := range rules {
		rule.NameValidationScheme = model.UTF8Validation
		if err := rule.Validate(model.UTF8Validation); err != nil {
			t.Error(err)
		}
	}
	return rules
}

// operated returns what Prometheus Operator makes of a ServiceMonitor, as far as it decides about targets: the role, what it keeps by
// the labels of the Service and the name of the port, and the relabelings of the monitor after that.
func operated(t *testing.T, monitor *monitoringv1.ServiceMonitor) (*sd.SDConfig, []*relabel.Config) {
	t.Helper()
	if role := monitor.Spec.ServiceDiscoveryRole; role == nil || *role != monitoringv1.EndpointSliceRole {
		t.Fatalf("the role of the ServiceMonitor is %v", role)
	}
	endpoint := monitor.Spec.Endpoints[0]
	var rules []map[string]any
	for _, name := range slices.Sorted(maps.Keys(monitor.Spec.Selector.MatchLabels)) {
		rules = append(rules, map[string]any{
			"action": "keep", "source_labels": []string{"__meta_kubernetes_service_label_" + name}, "regex": monitor.Spec.Selector.MatchLabels[name],
		})
	}
	rules = append(rules, map[string]any{
		"action": "keep", "source_labels": []string{"__meta_kubernetes_endpointslice_port_name"}, "regex": endpoint.Port,
	})
	for _, r := range endpoint.RelabelConfigs {
		rule := map[string]any{"source_labels": r.SourceLabels, "target_label": r.TargetLabel}
		if r.Regex != "" {
			rule["regex"] = r.Regex
		}
		rules = append(rules, rule)
	}
	text, err := yamlv2.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	var parsed []*relabel.Config
	if err := yamlv2.UnmarshalStrict(text, &parsed); err != nil {
		t.Fatal(err)
	}
	return &sd.SDConfig{Role: sd.RoleEndpointSlice}, parsed
}
