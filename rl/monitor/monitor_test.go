package monitor_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/monitor"
	"github.com/stepwise-rl/stepwise/rollout"
)

func watch(t testing.TB, o monitor.Options) *monitor.Monitor {
	m, err := monitor.New(o)
	require.NoError(t, err)
	return m
}

// Each alarm fires, and fires alone, when its own cause sets in.
func TestAlarmsFire(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*world)
		kind   monitor.AlarmKind
		step   string
		reason string
	}{
		"broken":       {func(w *world) { w.broken = .15 }, monitor.AlarmBrokenRising, "a", `step "a" is missing or broken in 1`},
		"unknown":      {func(w *world) { w.unknown = .15 }, monitor.AlarmUnknownRising, "a", `step "a" cannot be judged in 1`},
		"disagreement": {func(w *world) { w.agree = .65 }, monitor.AlarmDisagreementRising, "b", `the verdicts on step "b" contradict the outcome in 3`},
		"masked":       {func(w *world) { w.masked = .4 }, monitor.AlarmFullyMasked, "", "of completions have every token masked and train nothing, more than 25.0%"},
		"dead":         {func(w *world) { w.dead = .97 }, monitor.AlarmDeadGroups, "", "of groups are dead, more than 80.0%"},
	} {
		t.Run(name, func(t *testing.T) {
			m, w := watch(t, monitor.Options{Estimator: rloo}), usual(7)
			for step := range int64(80) {
				require.Empty(t, m.Observe(step, w.rollouts()))
			}
			c.change(w)
			var alarms []monitor.Alarm
			for step := range int64(20) {
				alarms = append(alarms, m.Observe(80+step, w.rollouts())...)
			}
			require.NotEmpty(t, alarms)
			kinds := map[monitor.AlarmKind]bool{}
			for _, a := range alarms {
				kinds[a.Kind] = true
				require.EqualValues(t, 99, a.At)
				require.LessOrEqual(t, a.P, .001)
				require.Greater(t, a.Recent, a.Reference)
			}
			require.Equal(t, map[monitor.AlarmKind]bool{c.kind: true}, kinds)
			require.Equal(t, c.step, alarms[0].Step)
			require.Contains(t, alarms[0].String(), "step 99: ")
			require.Contains(t, alarms[0].Reason, c.reason)
			require.Contains(t, alarms[0].Reason, "(last 20 training steps, p = ")
		})
	}
}

func TestWrongStepsAlarmOnlyWhileTheRewardRises(t *testing.T) {
	for _, c := range []struct {
		right float64
		want  int
	}{{.7, 1}, {.5, 0}, {.3, 0}} {
		m, w := watch(t, monitor.Options{Estimator: rloo}), usual(5)
		w.agree = 1 // the right-wrong share is step a's alone
		fired := 0
		for step := range int64(100) {
			if step == 80 {
				w.right, w.wrongIfRight = c.right, .4
			}
			for _, a := range m.Observe(step, w.rollouts()) {
				if a.Kind == monitor.AlarmWrongStepsRising {
					fired++
					require.Contains(t, a.Reason, "of right completions have a wrong step")
					require.Contains(t, a.Reason, "while the reward rose from 0.")
				}
			}
		}
		require.Equal(t, c.want, fired, "success rate from .5 to %v", c.right)
	}
}

// In a world that does not change each test is false with probability at most
// Level: 9 tests per window here. Neither threshold of size helps.
func TestStationaryNoiseRaisesNoMoreAlarmsThanAllowed(t *testing.T) {
	const level, window, windows, tests = .05, 5, 1000, 9
	m := watch(t, monitor.Options{Estimator: rloo, Window: window, History: 10, Level: level, MinRise: -1, MaxDead: .375, MaxMasked: .1})
	w := usual(11)
	w.groups, w.size, w.dead = 8, 3, .375 // in the median 3 of 8 are dead
	w.masked = .08
	counts := map[monitor.AlarmKind]int{}
	total := 0
	for step := range int64(windows * window) {
		for _, a := range m.Observe(step, w.rollouts()) {
			counts[a.Kind]++
			total++
		}
	}
	sd := math.Sqrt(level * (1 - level) / windows)
	for kind, n := range counts {
		each := 1.0
		switch kind {
		case monitor.AlarmBrokenRising, monitor.AlarmUnknownRising, monitor.AlarmDisagreementRising:
			each = 2 // of two steps
		}
		require.LessOrEqual(t, float64(n)/windows, each*(level+4*sd), kind)
	}
	require.Positive(t, counts[monitor.AlarmBrokenRising], "the test has teeth")
	require.Positive(t, counts[monitor.AlarmDisagreementRising])
	require.LessOrEqual(t, float64(total)/windows, tests*level)
}

func TestDefaultsAreQuietOnStationaryNoise(t *testing.T) {
	m, w := watch(t, monitor.Options{Estimator: rloo}), usual(2)
	for step := range int64(2000) {
		require.Empty(t, m.Observe(step, w.rollouts()))
	}
}

func TestNothingToMeasureRaisesNothing(t *testing.T) {
	m := watch(t, monitor.Options{Estimator: rloo, Window: 2, Level: .25})
	for step := range int64(50) {
		r := &rl.Rollouts{}
		if step%3 == 0 {
			r.Groups = []rollout.Group{nil, {{Rewards: []float64{nan}}, {Tokens: make([]int32, 4)}}}
		}
		for _, a := range m.Observe(step, r) {
			require.Equal(t, monitor.AlarmDeadGroups, a.Kind, "a group without rewards is dead")
		}
	}
}

func TestTablesOfTheWindows(t *testing.T) {
	m, w := watch(t, monitor.Options{Estimator: rloo, Window: 10, History: 20}), usual(3)
	var before, recent monitor.Counts
	for step := range int64(47) {
		r := w.rollouts()
		m.Observe(step, r)
		switch {
		case step >= 37:
			recent.Merge(monitor.Count(r, rloo, 1))
		case step >= 17:
			before.Merge(monitor.Count(r, rloo, 1))
		}
	}
	require.Equal(t, recent, m.Recent())
	require.Equal(t, before, m.Before())
	found := 0
	for _, d := range m.Drifts() {
		if d.Step == "a" && d.Measure == "Of(VerdictBroken)" {
			require.Equal(t, before.Steps["a"].Of(rollout.VerdictBroken), d.Before)
			require.Equal(t, recent.Steps["a"].Of(rollout.VerdictBroken), d.Recent)
			found++
		}
		if d.Step == "" && d.Measure == "MeanReward" {
			require.Equal(t, recent.MeanReward(), d.Recent)
			found++
		}
	}
	require.Equal(t, 2, found)
	require.Len(t, m.Drifts(), 4+2*7)
}

func TestRestoreContinuesBitForBit(t *testing.T) {
	o := monitor.Options{Estimator: rloo, Window: 10, History: 10, Level: .01, MinRise: .01}
	whole, w := watch(t, o), usual(4)
	var parts *monitor.Monitor
	var want, got []monitor.Alarm
	for step := range int64(200) {
		if step == 53 || step == 120 {
			from := whole
			if parts != nil {
				from = parts
			}
			saved, err := from.State()
			require.NoError(t, err)
			parts = watch(t, o)
			require.NoError(t, parts.Restore(saved))
		}
		if step == 130 {
			w.broken = .3
		}
		r := w.rollouts()
		a := whole.Observe(step, r)
		if parts != nil {
			want = append(want, a...)
			got = append(got, parts.Observe(step, r)...)
		}
	}
	require.NotEmpty(t, want)
	require.Equal(t, want, got)
	a, err := whole.State()
	require.NoError(t, err)
	b, err := parts.State()
	require.NoError(t, err)
	require.Equal(t, string(a), string(b))
}

func TestRestoreRefusesForeignState(t *testing.T) {
	m := watch(t, monitor.Options{Estimator: rloo})
	for state, want := range map[string]string{
		`{`:                       "unexpected end",
		`{}`:                      "format is 0",
		`{"format":2,"fresh":20}`: "20 training steps since the last test",
		`{"format":2,"fresh":3,"tables":[{},{}]}`:         "it holds 2 training steps, want from 3 to 80",
		`{"format":2,"tables":[{"steps":{"a":null}}]}`:    `table 0 has no counts for step "a"`,
		`{"format":2,"tables":[{"steps":{"a":[["x"]]}}]}`: "steps",
	} {
		require.ErrorContains(t, m.Restore([]byte(state)), want)
	}
}

// What was counted with other options is no memory of this monitor, though its size fits;
// the limits of the alarms may be others, and earlier programs did not say.
func TestRestoreComparesOptions(t *testing.T) {
	w := usual(4)
	m := watch(t, monitor.Options{Estimator: rloo})
	m.Observe(1, w.rollouts())
	saved, err := m.State()
	require.NoError(t, err)
	for _, c := range []struct {
		o    monitor.Options
		want string
	}{
		{monitor.Options{Window: 25}, "monitor: state: its Options have Window 20, History 60 and PassAt 1, this monitor's Window 25, History 75 and PassAt 1; want the same, or a monitor that begins anew"},
		{monitor.Options{History: 40}, "this monitor's Window 20, History 40 and PassAt 1"},
		{monitor.Options{PassAt: .5}, "this monitor's Window 20, History 60 and PassAt 0.5"},
	} {
		c.o.Estimator = rloo
		require.ErrorContains(t, watch(t, c.o).Restore(saved), c.want)
	}
	require.NoError(t, watch(t, monitor.Options{Estimator: rloo, Window: 20, History: 60, PassAt: 1, Level: .1, MinRise: .1, MaxMasked: .1, MaxDead: .1}).Restore(saved))
	require.NoError(t, watch(t, monitor.Options{Estimator: rloo}).Restore([]byte(`{"format":2,"fresh":1,"tables":[{}]}`)))
}

func FuzzRestore(f *testing.F) {
	m, w := watch(f, monitor.Options{Estimator: rloo, Window: 2, Level: .25}), usual(4)
	for step := range int64(5) {
		m.Observe(step, w.rollouts())
	}
	saved, err := m.State()
	require.NoError(f, err)
	f.Add(saved)
	f.Fuzz(func(t *testing.T, state []byte) {
		m, w := watch(t, monitor.Options{Estimator: rloo, Window: 2, Level: .25}), usual(4)
		if m.Restore(state) != nil {
			return
		}
		for step := range int64(3) {
			m.Observe(step, w.rollouts())
		}
		_ = m.Drifts()
	})
}

func TestOptionErrors(t *testing.T) {
	for want, o := range map[string]monitor.Options{
		"Estimator is missing": {},
		"Window is 1":          {Estimator: rloo, Window: 1},
		"Window is 51":         {Estimator: rloo, Window: 51},
		"History is 10":        {Estimator: rloo, History: 10},
		"History is 201":       {Estimator: rloo, History: 201},
		"Level is 1":           {Estimator: rloo, Level: 1},
		"Level is 0.001":       {Estimator: rloo, Window: 9},
		"MinRise is NaN":       {Estimator: rloo, MinRise: nan},
		"MaxMasked is NaN":     {Estimator: rloo, MaxMasked: nan},
		"a window of 9 ste":    {Estimator: rloo, Window: 9},
	} {
		_, err := monitor.New(o)
		require.ErrorContains(t, err, want)
	}
}
