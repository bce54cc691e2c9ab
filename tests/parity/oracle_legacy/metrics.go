package main

import (
	"strings"
	"sync"

	dto "github.com/prometheus/client_model/go"
	componentmetrics "k8s.io/component-base/metrics"
	"k8s.io/kubernetes/pkg/controller/endpointslicemirroring/metrics"
)

const metricPrefix = metrics.EndpointSliceMirroringSubsystem + "_"

// The controller registers its metrics with a registry that has many others too, which are slow to gather.
var registry = sync.OnceValue(func() componentmetrics.KubeRegistry {
	r := componentmetrics.NewKubeRegistry()
	r.MustRegister(metrics.EndpointsAddedPerSync, metrics.EndpointsUpdatedPerSync, metrics.EndpointsRemovedPerSync,
		metrics.AddressesSkippedPerSync, metrics.EndpointsSyncDuration, metrics.EndpointsDesired,
		metrics.NumEndpointSlices, metrics.DesiredEndpointSlices, metrics.EndpointSliceChanges)
	return r
})

// resetMetrics removes what earlier lines left in the gauges.
func resetMetrics() { registry().Reset() }

// snapshot maps `name{label=value}` (without the prefix) to the metric.
type snapshot map[string]*dto.Metric

func gather() snapshot {
	families, err := registry().Gather()
	if err != nil {
		panic(err)
	}
	found := snapshot{}
	for _, family := range families {
		for _, metric := range family.Metric {
			name := strings.TrimPrefix(family.GetName(), metricPrefix)
			var pairs []string
			for _, label := range metric.Label {
				pairs = append(pairs, label.GetName()+"="+label.GetValue())
			}
			if pairs != nil {
				name += "{" + strings.Join(pairs, ",") + "}"
			}
			found[name] = metric
		}
	}
	return found
}

// since gives gauges as they are and, of counters and histograms, what was added; what did not move is left out.
func (s snapshot) since(before snapshot) map[string]any {
	result := map[string]any{}
	for name, metric := range s {
		old := before[name]
		switch {
		case metric.Gauge != nil:
			result[name] = metric.Gauge.GetValue()
		case metric.Counter != nil:
			if grown := metric.Counter.GetValue() - old.GetCounter().GetValue(); grown != 0 {
				result[name] = grown
			}
		case metric.Histogram != nil:
			if count := metric.Histogram.GetSampleCount() - old.GetHistogram().GetSampleCount(); count != 0 {
				result[name] = map[string]any{
					"count": count,
					"sum":   metric.Histogram.GetSampleSum() - old.GetHistogram().GetSampleSum(),
				}
			}
		}
	}
	return result
}
