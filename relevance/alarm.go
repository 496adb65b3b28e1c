package relevance

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/monitor"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/task"
)

// alarmsLog is the log of a stage with what was noticed during it.
const alarmsLog = "alarms"

// alarm is a line of it. Those of a kind become one in the report.
type alarm struct {
	Kind string `json:"kind"`
	Step string `json:"step,omitempty"` // of reasoning
	Text string `json:"text"`
}

// The kinds of alarms beside those of package monitor.
const (
	alarmMemorised = "memorised"
	alarmFell      = "fell"
	alarmWritesOn  = "writes_on"
	alarmFewLive   = "few_live"
)

// remedies say what to do about an alarm.
var remedies = map[string]string{
	string(monitor.AlarmDeadGroups):         "The outcome teaches only where the answers to a prompt differ: lower warmup.steps, add noise to the teacher (teacher.noise in the task file), or set reinforce.curriculum or reinforce.dynamic_rounds",
	alarmFewLive:                            "Lower warmup.steps or warmup.passes, or add noise to the teacher (teacher.noise in the task file)",
	string(monitor.AlarmBrokenRising):       "A checkpoint with many malformed answers is not chosen; look at the sampled answers, and lower reinforce.lr or reinforce.steps",
	string(monitor.AlarmUnknownRising):      "Such a step keeps the outcome's credit, a loophole: let its rule know the truth of more answers",
	string(monitor.AlarmDisagreementRising): "Either the rule of the step or the label is being gamed: check the rule on the steps in the folder audit",
	string(monitor.AlarmWrongStepsRising):   "Labels are found without the steps: use step credit, and trust the steps less than the label",
	string(monitor.AlarmFullyMasked):        "These answers teach nothing: check the rules of the steps, or use the credit mask-fill",
	alarmMemorised:                          "What the model learns now it does not carry over to other queries: stop earlier (warmup.steps, reinforce.steps), or train on more queries",
	alarmFell:                               "The best checkpoint is kept",
	alarmWritesOn:                           "The first label counts for the reward; what follows is broken, and step credit blames it. A checkpoint with many such answers is not chosen",
}

// alarm notes something about a training step, and says the first of a kind and step.
func (l *leg) alarm(at int64, a alarm, w io.Writer) error {
	key := a.Kind + " " + a.Step
	if !l.Said[key] {
		l.Said[key] = true
		fmt.Fprintf(w, "warning: step %d: %s. %s\n", at, a.Text, remedies[a.Kind])
	}
	return l.stage.Append(alarmsLog, at, a)
}

// alarms are the stage's, one sentence for each kind.
func (l *leg) alarms() (out []string, err error) {
	type kind struct {
		name        string
		steps       []string
		text        string // the last
		first, last int64
		n           int
	}
	var kinds []*kind
	for line, err := range l.p.f.Lines(l.stage.Name(), alarmsLog) {
		if err != nil {
			return nil, err
		}
		var a alarm
		if err := json.Unmarshal(line.Data, &a); err != nil {
			return nil, fmt.Errorf("alarms of stage %s, step %d: %w", l.stage.Name(), line.Step, err)
		}
		at := slices.IndexFunc(kinds, func(k *kind) bool { return k.name == a.Kind })
		if at < 0 {
			at = len(kinds)
			kinds = append(kinds, &kind{name: a.Kind, first: line.Step})
		}
		k := kinds[at]
		if !slices.Contains(k.steps, a.Step) {
			k.steps = append(k.steps, a.Step)
		}
		k.text, k.last = a.Text, line.Step
		k.n++
	}
	for _, k := range kinds {
		when := fmt.Sprintf("step %d", k.last)
		if k.n > 1 {
			when = fmt.Sprintf("steps %d to %d, %d times", k.first, k.last, k.n)
		}
		if len(k.steps) > 1 {
			when += fmt.Sprintf(" (reasoning steps %s)", strings.Join(k.steps, ", "))
		}
		out = append(out, fmt.Sprintf("%s: %s. %s", when, k.text, remedies[k.name]))
	}
	return out, nil
}

// mostWritingOn is the share of answers that write on after the last step from which on
// it is said.
const mostWritingOn = .1

// observe lets the monitor see the answers of a training step, and notes what is wrong.
func (l *leg) observe(at int64, r *rl.Rollouts, w io.Writer) error {
	on, n, last := 0, 0, l.p.src.Steps[len(l.p.src.Steps)-1].Name
	for _, g := range r.Groups {
		for i := range g {
			n++
			if writesOn(&g[i]) {
				on++
			}
		}
	}
	share := float64(on) / float64(max(n, 1))
	if share >= mostWritingOn {
		a := alarm{Kind: alarmWritesOn, Text: fmt.Sprintf("%.0f%% of the answers write on after the step %q", 100*share, last)}
		if err := l.alarm(at, a, w); err != nil {
			return err
		}
	}
	for _, a := range l.monitor.Observe(at, r) {
		switch {
		case a.Kind == monitor.AlarmUnknownRising && l.p.unknownInData(r, a.Step):
			continue // the policy has no part in it
		case a.Kind == monitor.AlarmDisagreementRising && a.Step == last && share >= mostWritingOn:
			continue // a label written again is broken, whatever the first one earned
		}
		if err := l.alarm(at, alarm{string(a.Kind), a.Step, a.Reason}, w); err != nil {
			return err
		}
	}
	return nil
}

// writesOn reports whether a completion has steps after its last one.
func writesOn(c *rollout.Completion) bool {
	if c.Trace == nil {
		return false
	}
	final := c.Trace.Steps[c.Trace.Final]
	return final.Status != prompt.StatusMissing && slices.ContainsFunc(c.Trace.Extra, func(s prompt.Span) bool {
		return s.Bytes.Start >= final.Bytes.End
	})
}

// unknownInData reports whether a step cannot be judged only where the data do not tell
// its truth.
func (p *pipeline) unknownInData(r *rl.Rollouts, name string) bool {
	k := slices.IndexFunc(p.src.Steps, func(s task.Step[rows.Example]) bool { return s.Name == name })
	if k < 0 {
		return false
	}
	for g := range r.Groups {
		if e := r.Problems[g].(*task.Bound[rows.Example]).Example(); e.Truth[k] == "" {
			continue
		}
		for i := range r.Groups[g] {
			for _, s := range r.Groups[g][i].Steps {
				if s.Name == name && s.Verdict == rollout.VerdictUnknown {
					return false
				}
			}
		}
	}
	return true
}
