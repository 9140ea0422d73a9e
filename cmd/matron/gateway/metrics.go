package gateway

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/matron-epr/matron/proxy"
)

// metrics are what /metrics shows. Labels come from configuration and from
// codes, never from a request, so that they stay few and name nobody.
type metrics struct {
	registry  *prometheus.Registry
	exchanges *prometheus.CounterVec
	refusals  *prometheus.CounterVec
	waived    *prometheus.CounterVec
	candidate *prometheus.CounterVec
	whole     *prometheus.HistogramVec
	recording prometheus.Histogram
	deciding  prometheus.Histogram
	upstream  *prometheus.HistogramVec
	reloadOK  prometheus.Gauge
	reloadAt  prometheus.Gauge
	alerts    prometheus.Counter
	asked     prometheus.Histogram // seconds from the newest access of an alert to the alert
	unjudged  *prometheus.GaugeVec // detectors that are not evaluated

	looked     *prometheus.CounterVec // accesses by what became of them
	held       prometheus.Counter     // questions without room in the budget
	detectedTo prometheus.Gauge       // up to when detection has come while it is behind
	care       *prometheus.CounterVec
	slowed     *prometheus.HistogramVec
	budgets    *prometheus.CounterVec

	refusedRules prometheus.Counter
}

func newMetrics() *metrics {
	seconds := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		exchanges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "matron_exchanges_total", Help: "Exchanges that have ended, by application, action and effect of the decision.",
		}, []string{"application", "action", "effect"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "matron_refusals_total", Help: "Exchanges that the gateway refused or could not complete, by code.",
		}, []string{"application", "code"}),
		waived: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "matron_waived_total", Help: "Exchanges that the rules would have refused and that went on, by mode.",
		}, []string{"application", "mode"}),
		candidate: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "matron_policy_candidate_total", Help: "Decisions that the candidate policy was asked about, and those that it would change.",
		}, []string{"answer"}),
		whole: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "matron_exchange_seconds", Help: "Time from request to the end of the response.", Buckets: seconds,
		}, []string{"application"}),
		recording: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "matron_record_seconds", Help: "Time an exchange waited for its records to be durable.", Buckets: seconds,
		}),
		deciding: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "matron_decision_seconds", Help: "Time spent deciding.", Buckets: append([]float64{.00001, .00005, .0001}, seconds...),
		}),
		upstream: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "matron_upstream_seconds", Help: "Time until the application's response header.", Buckets: seconds,
		}, []string{"application"}),
		reloadOK: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "matron_config_last_reload_successful", Help: "1 when the last reload of configuration and policy was taken, 0 when it was refused.",
		}),
		reloadAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "matron_config_last_reload_success_timestamp_seconds", Help: "When configuration and policy were last taken.",
		}),
		asked: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "matron_alert_delay_seconds", Help: "From the newest access of an alert to the alert.", Buckets: []float64{5, 10, 20, 30, 60, 120, 600, 3600},
		}),
		unjudged: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "matron_detector_not_evaluated_since", Help: "Since when a detector is not evaluated, in seconds since 1970; the log says why.",
		}, []string{"detector"}),
		looked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "matron_detection_accesses_total", Help: "Accesses that detection was told of, by what became of them: looked-at, or left out as out-of-time or too-many.",
		}, []string{"result"}),
		held: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "matron_alerts_held_back_total", Help: "Questions that were good enough for an alert when the day's budget had no room for them.",
		}),
		detectedTo: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "matron_detection_behind_since", Help: "While detection is behind, up to when it has looked at accesses, in seconds since 1970; else 0.",
		}),
		alerts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "matron_alerts_total", Help: "Alerts raised since the start.",
		}),
		care: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "matron_care_messages_total", Help: "HL7 messages about patients, by what became of them: accepted, or why not.",
		}, []string{"result"}),
		refusedRules: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "matron_policy_refused_total", Help: "Bundles of rules that were not put in force because of a fault, or since nobody could tell where they came from.",
		}),
		slowed: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "matron_slowed_seconds", Help: "Time by which limits slowed exchanges down, of those that were.", Buckets: []float64{.1, .25, .5, 1, 2, 5, 10},
		}, []string{"application"}),
		budgets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "matron_over_budget_total", Help: "How often somebody used up the budget of patients of their role, once in its window, by budget and window.",
		}, []string{"budget"}),
	}
	m.registry.MustRegister(m.exchanges, m.refusals, m.waived, m.candidate, m.whole, m.recording, m.deciding, m.upstream, m.reloadOK, m.reloadAt, m.alerts, m.asked, m.unjudged, m.looked, m.held, m.detectedTo, m.care, m.slowed, m.budgets, m.refusedRules,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// observe takes in one exchange.
func (m *metrics) observe(e proxy.Event) {
	m.exchanges.WithLabelValues(e.App, e.Action, e.Effect).Inc()
	if e.Code != "" {
		m.refusals.WithLabelValues(e.App, e.Code).Inc()
	}
	if e.WouldDeny {
		m.waived.WithLabelValues(e.App, e.Mode.String()).Inc()
	}
	if e.Slowed > 0 {
		m.slowed.WithLabelValues(e.App).Observe(e.Slowed.Seconds())
	}
	if e.BudgetTold {
		m.budgets.WithLabelValues(e.Budget).Inc()
	}
	m.whole.WithLabelValues(e.App).Observe(e.Whole.Seconds())
	m.recording.Observe(e.Recording.Seconds())
	m.deciding.Observe(e.Deciding.Seconds())
	if e.Upstream > 0 {
		m.upstream.WithLabelValues(e.App).Observe(e.Upstream.Seconds())
	}
}

// sums are how many exchanges have ended since the start, and how many of them were
// refused with a code.
func (m *metrics) sums(code string) (exchanges, refused float64, err error) {
	families, err := m.registry.Gather()
	for _, f := range families {
		for _, one := range f.GetMetric() {
			switch f.GetName() {
			case "matron_exchanges_total":
				exchanges += one.GetCounter().GetValue()
			case "matron_refusals_total":
				for _, label := range one.GetLabel() {
					if label.GetName() == "code" && label.GetValue() == code {
						refused += one.GetCounter().GetValue()
					}
				}
			}
		}
	}
	return exchanges, refused, err
}

// reloaded notes that configuration and policy were taken in.
func (m *metrics) reloaded(at time.Time) {
	m.reloadOK.Set(1)
	m.reloadAt.Set(float64(at.Unix()))
}

// watch adds a gauge that is read when /metrics is.
func (m *metrics) watch(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}
