package monitor

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Options are the settings of a Monitor. Only Estimator is required; the zero
// values of the others suit most runs.
type Options struct {
	// Estimator is the run's; it decides which groups are dead.
	Estimator advantage.Estimator
	// Window is the number of training steps tested at a time, from 2 to 50; 0
	// means 20. Each test is made once every Window training steps.
	Window int
	// History is the number of training steps before the window that it is
	// compared with, from Window to 200; 0 means 3·Window.
	History int
	// Level bounds the probability of a false alarm of each test; 0 means
	// 0.001. The package comment derives the number of false alarms in a run from it.
	Level float64
	// MinRise is the smallest rise of a share that is worth an alarm, however
	// significant it is; 0 means 0.02, negative any.
	MinRise float64
	// MaxMasked and MaxDead are the limits of AlarmFullyMasked and
	// AlarmDeadGroups; 0 means 0.25 and 0.8. With 1 there is no alarm.
	MaxMasked, MaxDead float64
	// PassAt is the first reward from which a completion is right; 0 means 1.
	PassAt float64
}

func (o Options) withDefaults() Options {
	o.Window = cmp.Or(o.Window, 20)
	o.History = cmp.Or(o.History, 3*o.Window)
	o.Level = cmp.Or(o.Level, .001)
	o.MinRise = cmp.Or(o.MinRise, .02)
	o.MaxMasked = cmp.Or(o.MaxMasked, .25)
	o.MaxDead = cmp.Or(o.MaxDead, .8)
	o.PassAt = cmp.Or(o.PassAt, 1)
	return o
}

// Validate returns an error that names every invalid setting.
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
	// tables holds those of the last History+Window training steps, oldest
	// first.
	tables []Counts
	// fresh counts the training steps since the last test.
	fresh int
}

// New returns a monitor, or the error of Options.Validate.
func New(o Options) (*Monitor, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Monitor{o: o.withDefaults()}, nil
}

// Observe counts the rollouts of a training step, after credit was assigned, and
// returns the alarms of the tests that are due. step is the training step's
// number and only goes into the alarms. Call it from rl.Config.OnRollouts.
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

// Recent is the table of the last Window training steps.
func (m *Monitor) Recent() Counts {
	_, recent := m.windows()
	return merged(recent)
}

// Before is the table of the training steps before those of Recent, up to
// History of them.
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
			Reason: fmt.Sprintf(format, args...) + fmt.Sprintf(" (last %d training steps, p = %.1g)", m.o.Window, c.p),
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

// comparison holds the numbers that a test compared, and its p-value.
type comparison struct{ reference, recent, p float64 }

// rises tests whether a measure is larger in the window than before. Training
// steps without the measure are left out; at least half a window must be left on
// either side.
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

// values are the values of a measure, of the tables that have it.
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

// Drift is the change of one number from the training steps before the window to
// those in it; NaN where there was nothing to measure.
type Drift struct {
	// Step is the name of the reasoning step; "" for the completions.
	Step string
	// Measure names the method of Counts or StepCounts that computes it.
	Measure string
	// Before and Recent are computed on the merged tables Before and Recent.
	Before, Recent float64
}

// Drifts lists the change of every measure: first those of all completions, then
// those of each reasoning step, in the order of the names.
func (m *Monitor) Drifts() []Drift {
	before, recent := m.Before(), m.Recent()
	var out []Drift
	add := func(step, name string, f measure) {
		out = append(out, Drift{step, name, f(&before), f(&recent)})
	}
	add("", "MeanReward", (*Counts).MeanReward)
	add("", "WrongStepIfRight", (*Counts).WrongStepIfRight)
	add("", "MaskedShare", (*Counts).MaskedShare)
	add("", "DeadShare", (*Counts).DeadShare)
	all := merged([]Counts{before, recent})
	for _, step := range all.Names() {
		for _, d := range []struct {
			name string
			f    func(*StepCounts) float64
		}{
			{"Accuracy", (*StepCounts).Accuracy},
			{"Of(VerdictBroken)", func(s *StepCounts) float64 { return s.Of(rollout.VerdictBroken) }},
			{"Of(VerdictUnknown)", func(s *StepCounts) float64 { return s.Of(rollout.VerdictUnknown) }},
			{"WrongIfRight", (*StepCounts).WrongIfRight},
			{"CorrectIfWrong", (*StepCounts).CorrectIfWrong},
			{"Agreement", (*StepCounts).Agreement},
			{"Phi", (*StepCounts).Phi},
		} {
			add(step, d.name, ofStep(step, d.f))
		}
	}
	return out
}

const stateFormat = 2

// state is the JSON of State.
type state struct {
	Format int `json:"format"`
	// Options are those that the tables depend on; states of earlier programs have none.
	Options string   `json:"options,omitempty"`
	Fresh   int      `json:"fresh"`
	Tables  []Counts `json:"tables"`
}

// counting says how training steps are counted and kept.
func (o Options) counting() string {
	return fmt.Sprintf("Window %d, History %d and PassAt %v", o.Window, o.History, o.PassAt)
}

// State returns the monitor's memory as JSON. Keep it with the trainer's.
func (m *Monitor) State() ([]byte, error) {
	return json.Marshal(state{stateFormat, m.o.counting(), m.fresh, append([]Counts{}, m.tables...)})
}

// Restore goes back to a State of a monitor with the same Estimator, Window, History and
// PassAt; the last three are compared. The limits of the alarms may be others. An error
// leaves the monitor as it was.
func (m *Monitor) Restore(saved []byte) error {
	var s state
	if err := json.Unmarshal(saved, &s); err != nil {
		return fmt.Errorf("monitor: state: %w", err)
	}
	switch {
	case s.Format != stateFormat:
		return fmt.Errorf("monitor: state: format is %d, want %d", s.Format, stateFormat)
	case s.Options != "" && s.Options != m.o.counting():
		return fmt.Errorf("monitor: state: its Options have %s, this monitor's %s; want the same, or a monitor that begins anew", s.Options, m.o.counting())
	case s.Fresh < 0 || s.Fresh >= m.o.Window:
		return fmt.Errorf("monitor: state: %d training steps since the last test, but the window is %d", s.Fresh, m.o.Window)
	case len(s.Tables) > m.o.History+m.o.Window || len(s.Tables) < s.Fresh:
		return fmt.Errorf("monitor: state: it holds %d training steps, want from %d to %d", len(s.Tables), s.Fresh, m.o.History+m.o.Window)
	}
	for i := range s.Tables {
		for name, step := range s.Tables[i].Steps {
			if step == nil {
				return fmt.Errorf("monitor: state: table %d has no counts for step %q", i, name)
			}
		}
	}
	m.fresh, m.tables = s.Fresh, s.Tables
	return nil
}
