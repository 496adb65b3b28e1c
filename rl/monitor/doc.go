// Package monitor shows whether a run learns what it should. It counts step
// verdicts against results, a table that reveals reward hacking, follows the
// table's drift, raises alarms with a known false-alarm rate, and computes pass@k
// and majority votes over rollouts.
//
// # The table
//
// A rising reward means that answers are judged right more often. It does not
// show how they were reached. [Counts] counts every step by the verdict on it
// (rollout.Verdict) and by the [Result] of its completion:
//
//   - wrong steps in right completions ([StepCounts.WrongIfRight]) are what
//     outcome-only credit reinforces by mistake; if they spread while the reward
//     rises, the policy does not reach its answers by its steps;
//   - broken and unknown steps are where a policy hides from its rules;
//   - a step whose verdicts cease to agree with the result
//     ([StepCounts.Agreement], [StepCounts.Phi]) has a rule, or a reward, that no
//     longer measures the same thing.
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
// [Monitor.Recent] and [Monitor.Before] are the tables of the last training steps
// and of those before; [Monitor.Drifts] compares them number by number. Keep
// [Monitor.State] with the trainer's, and a resumed run raises the same alarms.
//
// # The alarms, and how often they are false
//
// Every Options.Window training steps each test is made once, on one number per
// training step: completions of a group depend on each other, training steps
// nearly do not.
//
//   - [AlarmBrokenRising], [AlarmUnknownRising] and [AlarmDisagreementRising] for
//     each reasoning step, and [AlarmWrongStepsRising] for all of them, compare the
//     numbers of the window with those of the training steps before it by the
//     exact rank-sum test, ties included. If nothing changes, all orders are
//     equally probable, whatever the distribution, so an alarm is false with
//     probability at most Options.Level. The rise must also be at least
//     Options.MinRise.
//   - [AlarmFullyMasked] and [AlarmDeadGroups] compare them with a limit by the
//     sign test, exact too: if a training step is no more likely to be above the
//     limit than below, an alarm is false with probability at most Options.Level.
//     With the default window of 20 it takes 18 training steps above the limit.
//
// A run of T training steps with K reasoning steps makes at most (3K+3)·T/Window
// tests. By default the expected number of false alarms in 300 training steps
// with five reasoning steps is at most 0.27. An alarm is a reason to look at
// samples, not a verdict: a policy that improves changes too, and a rule that
// finds more mistakes may be right.
//
// # Audit the rules too
//
// All of this trusts the rules' verdicts. Package audit measures
// them against labels made by hand.
//
// Examples are in example_test.go.
package monitor
