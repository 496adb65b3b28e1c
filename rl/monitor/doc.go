// Package monitor shows whether a run learns what it should: the table of step
// verdicts against outcomes that reveals reward hacking, its drift, alarms with
// a known rate of false ones, and pass@k and majority votes over rollouts.
//
// # The table
//
// A reward that climbs says that answers are judged right more often. It does
// not say how they were reached. [Counts] counts every step by what its rule said
// (rollout.Verdict) and what became of the completion ([Result]):
//
//   - wrong steps in right completions ([StepCounts.WrongIfRight]) are what
//     outcome-only credit reinforces by mistake; when they spread while the reward
//     rises, the policy reaches answers by other ways than its steps;
//   - broken and unknown steps are where a policy hides from its rules;
//   - a step whose verdicts cease to agree with the outcome
//     ([StepCounts.Agreement], [StepCounts.Phi]) has a rule, or a reward, that no
//     longer measures what it did.
//
// # A monitor in a run
//
//	m, err := monitor.New(monitor.Options{Estimator: config.Estimator})
//	config.OnRollouts = func(step int64, r *rl.Rollouts) error {
//		for _, alarm := range m.Observe(step, r) {
//			logger.Warn(alarm.Reason, "kind", alarm.Kind, "step", step)
//		}
//		return nil
//	}
//
// [Monitor.Recent] and [Monitor.Before] are the tables of the last steps and of
// those before; [Monitor.Drifts] compares them number by number. Keep
// [Monitor.State] with the trainer's, and a resumed run raises the same alarms.
//
// # The alarms, and how often they are false
//
// Every Options.Window training steps each test is made once, on one number per
// training step: completions of a group are alike, training steps are not, so
// steps are what is counted.
//
//   - Rising: [AlarmBrokenRising], [AlarmUnknownRising], [AlarmDisagreementRising] for each
//     reasoning step, [AlarmWrongStepsRising] for all. The window's numbers are compared
//     with those of the steps before it by the exact rank-sum test, ties included.
//     If nothing changes, all orders are equally probable, whatever the
//     distribution, so a test is false with probability at most Options.Level. The
//     rise must also be at least Options.MinRise.
//   - Too large: [AlarmFullyMasked], [AlarmDeadGroups]. The sign test, exact too: if a
//     training step is no more likely to be above the limit than below, the alarm
//     is false with probability at most Options.Level. With the default window of
//     20 it takes 18 steps above the limit.
//
// A run of T training steps with K reasoning steps makes at most
// (3K+3)·T/Window tests, and by default expects at most .27 false alarms in 300
// steps with five reasoning steps. An alarm is a reason to look at samples, not
// a verdict: a policy that improves changes too, and a rule that finds more
// mistakes may be right.
//
// # Audit the rules too
//
// All of this takes the rules' verdicts for granted. Package audit measures
// them against hand-made labels.
package monitor
