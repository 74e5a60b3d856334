package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// series are the metrics that a process serves, by name.
type series map[string]*dto.MetricFamily

func parseMetrics(text []byte) (series, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	return families, nil
}

// label is a label that a sample must have.
type label struct{ name, value string }

// each calls f with every sample of a metric that has those labels.
func (s series) each(name string, f func(labels map[string]string, value float64), labels ...label) {
	for _, m := range s[name].GetMetric() {
		of := map[string]string{}
		for _, pair := range m.GetLabel() {
			of[pair.GetName()] = pair.GetValue()
		}
		other := func(l label) bool { return of[l.name] != l.value }
		if !slices.ContainsFunc(labels, other) {
			f(of, m.GetCounter().GetValue()+m.GetGauge().GetValue()+m.GetUntyped().GetValue())
		}
	}
}

// sum adds up the samples of a metric that have those labels.
func (s series) sum(name string, labels ...label) (sum float64) {
	s.each(name, func(_ map[string]string, value float64) { sum += value }, labels...)
	return sum
}

// work returns how many objects the controllers of a manager have before them, or under way; of those that are given, if any are.
func (s series) work(controllers ...string) (objects float64) {
	if len(controllers) == 0 {
		return s.sum("workqueue_depth") + s.sum("controller_runtime_active_workers")
	}
	for _, name := range controllers {
		of := label{"controller", name}
		objects += s.sum("workqueue_depth", of) + s.sum("controller_runtime_active_workers", of)
	}
	return objects
}

// requests are the requests that the API server has taken so far and that change something, by resource.
type requests map[string]float64

// requests asks the API server for its own count. Leases are left out, as the API server writes its own.
func (g *rig) requests(ctx context.Context) (requests, error) {
	body, err := g.kube.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, err
	}
	served, err := parseMetrics(body)
	if err != nil {
		return nil, err
	}
	counted := requests{}
	served.each("apiserver_request_total", func(labels map[string]string, value float64) {
		if changes(labels["verb"]) && labels["resource"] != "leases" {
			counted[labels["resource"]] += value
		}
	})
	return counted, nil
}

func changes(verb string) bool {
	switch verb {
	case "POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION":
		return true
	}
	return false
}

// since returns how many requests there were since an earlier count.
func (r requests) since(before requests) (sum float64) {
	for resource, n := range r {
		sum += n - before[resource]
	}
	return sum
}
