package relevance

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/stepwise-rl/stepwise/record/progress"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/monitor"
	"github.com/stepwise-rl/stepwise/rl/run"
)

// leg is how far a stage has come: its weights and counters. It is a
// checkpoint.Training, kept in the run's folder with the stage's logs.
type leg struct {
	p     *pipeline
	stage *run.Stage
	// weights are the stage's; trainer, if not nil, saves and restores them.
	weights interface {
		Save(ctx context.Context, name string) (ref string, err error)
		Load(ctx context.Context, ref string) error
	}
	trainer *rl.Trainer
	monitor *monitor.Monitor // nil without a trainer
	metrics map[string]float64
	last    time.Time // end of the last step
	legState
}

// legState is what a leg's checkpoint holds beside the weights.
type legState struct {
	Policy  string                  `json:"policy"` // reference of the weights
	Step    int                     `json:"step"`
	Tokens  int                     `json:"tokens"`
	Seconds float64                 `json:"seconds"`
	Rewards []float64               `json:"rewards,omitempty"` // per step
	Live    float64                 `json:"live,omitempty"`    // share of groups in the last one
	Said    map[string]bool         `json:"said,omitempty"`    // what need not be said again
	Best    float64                 `json:"best,omitempty"`    // on validation rows so far
	Rules   map[string]report.Tally `json:"rules"`             // of the run so far
	Trainer json.RawMessage         `json:"trainer,omitempty"`
	Monitor json.RawMessage         `json:"monitor,omitempty"`
}

func (p *pipeline) newLeg(stage *run.Stage) *leg {
	return &leg{p: p, stage: stage, legState: legState{Said: map[string]bool{}}}
}

// Steps is the number of steps done.
func (l *leg) Steps() int64 { return int64(l.Step) }

// Metrics are those of the last step, by which the best checkpoint is found.
func (l *leg) Metrics() map[string]float64 { return l.metrics }

// Save saves the weights under name and returns the leg's state.
func (l *leg) Save(ctx context.Context, name string) (state []byte, err error) {
	if l.trainer == nil {
		l.Policy, err = l.weights.Save(ctx, name)
	} else if l.Trainer, err = l.trainer.Save(ctx, name); err == nil {
		l.Policy, err = rl.PolicyRef(l.Trainer)
	}
	if err == nil && l.monitor != nil {
		l.Monitor, err = l.monitor.State()
	}
	if err != nil {
		return nil, err
	}
	l.Rules = l.p.tallies()
	return json.Marshal(l.legState)
}

// Restore goes back to a saved state.
func (l *leg) Restore(ctx context.Context, saved []byte) error {
	s := legState{Said: map[string]bool{}}
	if err := json.Unmarshal(saved, &s); err != nil {
		return err
	}
	if l.trainer == nil {
		if err := l.weights.Load(ctx, s.Policy); err != nil {
			return err
		}
	} else {
		state, err := rl.WithPolicyRef(s.Trainer, s.Policy)
		if err != nil {
			return err
		}
		if err := l.trainer.Restore(ctx, state); err != nil {
			return err
		}
	}
	if l.monitor != nil {
		if err := l.monitor.Restore(s.Monitor); err != nil {
			return err
		}
	}
	l.legState = s
	l.p.restoreTallies(s.Rules)
	return nil
}

// resume goes on where an earlier process was interrupted, if one was, with the logs
// as they were there.
func (l *leg) resume(ctx context.Context) (found bool, err error) {
	if found, err = l.stage.Resume(ctx, l); err == nil && found {
		fmt.Fprintf(l.p.w, "going on after step %d\n", l.Step)
	}
	l.last = time.Now()
	return found, err
}

// save makes here the point to resume from.
func (l *leg) save(ctx context.Context) error {
	return l.stage.Save(context.WithoutCancel(ctx), l)
}

// done notes a training step.
func (l *leg) done(metrics map[string]float64, tokens int) {
	l.Step++
	l.Tokens += tokens
	l.Seconds += time.Since(l.last).Seconds()
	l.last = time.Now()
	l.metrics = maps.Clone(metrics)
}

// interrupted saves, and says where.
func (l *leg) interrupted(ctx context.Context, total int) error {
	if err := l.save(ctx); err != nil {
		return err
	}
	return &Interrupted{l.stage.Name(), fmt.Sprintf("step %d of %d", l.Step, total)}
}

// run takes the supervised steps that are left, saves after every so many of them and
// at the end, and stops between two of them when ctx is done. step returns its metrics
// and the tokens it has used.
func (l *leg) run(ctx context.Context, total, every int, bar *progress.Bar, step func(context.Context) (m map[string]float64, tokens int, err error)) error {
	for l.Step < total {
		if ctx.Err() != nil {
			return l.interrupted(ctx, total)
		}
		m, tokens, err := step(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		l.done(m, tokens)
		if err := l.stage.Record(int64(l.Step), m); err != nil {
			return err
		}
		if err := bar.Record(int64(l.Step), m); err != nil {
			return err
		}
		if l.Step%every == 0 && l.Step < total {
			if err := l.save(ctx); err != nil {
				return err
			}
		}
	}
	if l.metrics == nil {
		return nil // nothing was left to do
	}
	return l.save(ctx)
}

// result is the stage's, once the last step is saved.
func (l *leg) result() (*report.Stage, error) {
	alarms, err := l.alarms()
	return &report.Stage{Seconds: l.Seconds, Tokens: l.Tokens, Alarms: alarms}, err
}
