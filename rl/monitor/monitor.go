package monitor

import (
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
)

// Options are the thresholds. The zero value is meant for most runs.
type Options struct {
	// Estimator is the run's; it says which groups are dead. Required.
	Estimator advantage.Estimator
	// Window is how many training steps are judged at a time, at most 50; 0
	// means 20. Every Window steps the last Window steps are tested once.
	Window int
	// History is how many steps before the window they are compared with, from
	// Window to 200; 0 means 3·Window.
	History int
	// Level bounds the probability of a false alarm of each test; 0 means
	// 0.001. See the package comment for what that means for a run.
	Level float64
	// MinRise is the least rise of a share that is worth an alarm, however
	// sure it is; 0 means 0.02, negative none.
	MinRise float64
	// MaxMasked and MaxDead are the limits of FullyMasked and DeadGroups; 0
	// means 0.25 and 0.8. 1 never alarms.
	MaxMasked, MaxDead float64
	// PassAt is the first reward from which a completion is right; 0 means 1.
	PassAt float64
}

func (o Options) withDefaults() Options {
	def := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	if o.Window == 0 {
		o.Window = 20
	}
	if o.History == 0 {
		o.History = 3 * o.Window
	}
	def(&o.Level, .001)
	def(&o.MinRise, .02)
	def(&o.MaxMasked, .25)
	def(&o.MaxDead, .8)
	def(&o.PassAt, 1)
	return o
}

func (o Options) Validate() error {
	o = o.withDefaults()
	var errs []error
	if o.Estimator == nil {
		errs = append(errs, errors.New("monitor: Options.Estimator is missing"))
	}
	if o.Window < 2 || o.Window > 50 {
		errs = append(errs, fmt.Errorf("monitor: Options.Window is %d, want 2 to 50", o.Window))
	}
	if o.History < o.Window || o.History > 200 {
		errs = append(errs, fmt.Errorf("monitor: Options.History is %d, want Window (%d) to 200", o.History, o.Window))
	}
	if least := math.Pow(.5, float64(o.Window)); !(o.Level >= least && o.Level < 1) {
		errs = append(errs, fmt.Errorf("monitor: Options.Level is %v, want below 1 and at least %.2g: a window of %d steps is never surer", o.Level, least, o.Window))
	}
	for _, f := range []struct {
		name string
		v    float64
	}{{"MinRise", o.MinRise}, {"MaxMasked", o.MaxMasked}, {"MaxDead", o.MaxDead}, {"PassAt", o.PassAt}} {
		if math.IsNaN(f.v) {
			errs = append(errs, fmt.Errorf("monitor: Options.%s is NaN", f.name))
		}
	}
	return errors.Join(errs...)
}

// Monitor watches a run. It is used by one goroutine.
type Monitor struct {
	o Options
	// tables holds the last History+Window steps', oldest first.
	tables []Counts
	// fresh counts the steps since the last test.
	fresh int
}

// New returns a monitor; the error names every option that cannot be.
func New(o Options) (*Monitor, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Monitor{o: o.withDefaults()}, nil
}

// Observe counts the rollouts of a training step, after credit was assigned,
// and returns the alarms of the tests that are due. Step only goes into the
// alarms. It fits a function for rl.Config.OnRollouts.
func (m *Monitor) Observe(step int64, r *rl.Rollouts) []Alarm {
	if len(m.tables) == m.o.History+m.o.Window {
		m.tables = append(m.tables[:0], m.tables[1:]...)
	}
	m.tables = append(m.tables, Count(r, m.o.Estimator, m.o.PassAt))
	m.fresh++
	if m.fresh < m.o.Window {
		return nil
	}
	m.fresh = 0
	return m.test(step)
}

// windows returns the tables before the window, and in it.
func (m *Monitor) windows() (before, recent []Counts) {
	i := max(len(m.tables)-m.o.Window, 0)
	return m.tables[:i], m.tables[i:]
}

// Recent is the table of the last Window steps.
func (m *Monitor) Recent() Counts {
	_, recent := m.windows()
	return merged(recent)
}

// Before is the table of the steps, up to History, before those of Recent.
func (m *Monitor) Before() Counts {
	before, _ := m.windows()
	return merged(before)
}

func merged(tables []Counts) Counts {
	sum := Counts{Steps: make(map[string]*StepCounts)}
	for _, t := range tables {
		sum.Merge(t)
	}
	return sum
}

// test makes every test once.
func (m *Monitor) test(step int64) []Alarm {
	var alarms []Alarm
	add := func(kind AlarmKind, name string, c comparison, format string, args ...any) {
		alarms = append(alarms, Alarm{
			Kind: kind, Step: name, At: step, Reference: c.reference, Recent: c.recent, P: c.p,
			Reason: fmt.Sprintf(format, args...) + fmt.Sprintf(" (last %d steps, p = %.1g)", m.o.Window, c.p),
		})
	}
	recent := m.Recent()
	for _, name := range recent.Names() {
		for _, a := range stepAlarms {
			if c, ok := m.rises(ofStep(name, a.of), m.o.MinRise); ok {
				add(a.kind, name, c, a.reason, name, percent(c.recent), percent(c.reference))
			}
		}
	}
	if c, ok := m.rises((*Counts).WrongStepIfRight, m.o.MinRise); ok {
		if reward, ok := m.rises((*Counts).MeanReward, 0); ok {
			add(AlarmWrongStepsRising, "", c, "%s of right completions have a wrong step, before %s, while the reward rose from %.3g to %.3g",
				percent(c.recent), percent(c.reference), reward.reference, reward.recent)
		}
	}
	if c, ok := m.exceeds((*Counts).MaskedShare, m.o.MaxMasked); ok {
		add(AlarmFullyMasked, "", c, "%s of completions have every token masked and train nothing, more than %s", percent(c.recent), percent(c.reference))
	}
	if c, ok := m.exceeds((*Counts).DeadShare, m.o.MaxDead); ok {
		add(AlarmDeadGroups, "", c, "%s of groups are dead, more than %s", percent(c.recent), percent(c.reference))
	}
	return alarms
}

// comparison is the outcome of a test.
type comparison struct{ reference, recent, p float64 }

// rises tests whether a measure is larger in the window than before. Steps
// without the measure are left out; half a window must be left on either side.
func (m *Monitor) rises(f measure, least float64) (comparison, bool) {
	b, r := m.windows()
	before, recent := values(f, b), values(f, r)
	if enough := (m.o.Window + 1) / 2; len(before) < enough || len(recent) < enough {
		return comparison{}, false
	}
	c := comparison{reference: average(before), recent: average(recent)}
	if !(c.recent-c.reference > 0 && c.recent-c.reference >= least) {
		return comparison{}, false
	}
	c.p = rankSumTail(before, recent)
	return c, c.p <= m.o.Level
}

// exceeds tests whether a measure is typically, in the median, above a limit.
func (m *Monitor) exceeds(f measure, limit float64) (comparison, bool) {
	_, r := m.windows()
	recent := values(f, r)
	above := 0
	for _, v := range recent {
		if v > limit {
			above++
		}
	}
	c := comparison{limit, average(recent), signTail(above, len(recent))}
	return c, c.p <= m.o.Level
}

// values are the measures of the tables that have it.
func values(f measure, tables []Counts) []float64 {
	vs := make([]float64, 0, len(tables))
	for i := range tables {
		if v := f(&tables[i]); !math.IsNaN(v) {
			vs = append(vs, v)
		}
	}
	return vs
}

func average(vs []float64) float64 {
	sum := 0.0
	for _, v := range vs {
		sum += v
	}
	return sum / float64(len(vs))
}
