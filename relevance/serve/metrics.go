package serve

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are those of /metrics. No label has what a client sent.
type metrics struct {
	registry                           *prometheus.Registry
	requests                           *prometheus.CounterVec
	seconds                            *prometheus.HistogramVec
	pairs, unscorable                  prometheus.Counter
	queue, inFlight                    prometheus.Gauge
	batchPairs, batchSeconds, perQuery prometheus.Histogram
	model                              *prometheus.GaugeVec
	swaps, swapFailures                prometheus.Counter
	bodies                             prometheus.Gauge
}

// newMetrics returns the metrics of a server whose requests end within three times timeout.
func newMetrics(timeout time.Duration) *metrics {
	name := func(n, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "stepwise", Subsystem: "serve", Name: n, Help: help}
	}
	histogram := func(n, help string, buckets []float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Namespace: "stepwise", Subsystem: "serve", Name: n, Help: help, Buckets: buckets}
	}
	counts := prometheus.ExponentialBuckets(1, 2, 11)
	seconds := []float64{.0005}
	for last := seconds[0]; last < 3*timeout.Seconds(); {
		last *= 2
		seconds = append(seconds, last)
	}
	m := &metrics{
		registry:     prometheus.NewRegistry(),
		requests:     prometheus.NewCounterVec(prometheus.CounterOpts(name("requests_total", "Requests by endpoint and status.")), []string{"endpoint", "status"}),
		seconds:      prometheus.NewHistogramVec(histogram("request_seconds", "Time from the request's header to the end of the answer.", seconds), []string{"endpoint"}),
		pairs:        prometheus.NewCounter(prometheus.CounterOpts(name("pairs_total", "Pairs of query and document that were scored."))),
		unscorable:   prometheus.NewCounter(prometheus.CounterOpts(name("unscorable_total", "Documents without a grade: the answer was unreadable or lost."))),
		queue:        prometheus.NewGauge(prometheus.GaugeOpts(name("queue_pairs", "Pairs that wait."))),
		inFlight:     prometheus.NewGauge(prometheus.GaugeOpts(name("requests_in_flight", "Requests that are read, wait or are scored."))),
		perQuery:     prometheus.NewHistogram(histogram("request_pairs", "Documents of a request.", counts)),
		batchPairs:   prometheus.NewHistogram(histogram("batch_pairs", "Pairs of a batch.", counts)),
		batchSeconds: prometheus.NewHistogram(histogram("batch_seconds", "Time that a batch is scored.", seconds)),
		model:        prometheus.NewGaugeVec(prometheus.GaugeOpts(name("model_info", "1 for the model in use.")), []string{"version", "digest"}),
		swaps:        prometheus.NewCounter(prometheus.CounterOpts(name("swaps_total", "Models that took the place of another."))),
		swapFailures: prometheus.NewCounter(prometheus.CounterOpts(name("swap_failures_total", "Models that could not take the place of the one in use, which model_info names."))),
		bodies:       prometheus.NewGauge(prometheus.GaugeOpts(name("body_bytes", "Bytes of requests' bodies in memory."))),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.pairs, m.unscorable, m.queue, m.inFlight, m.perQuery, m.batchPairs, m.batchSeconds, m.model, m.swaps, m.swapFailures, m.bodies,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// describe says which model is in use.
func (m *metrics) describe(model *Model) {
	m.model.Reset()
	m.model.WithLabelValues(model.Version, model.Digest).Set(1)
}
