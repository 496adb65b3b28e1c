package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// curveSection is a group of charts of the training.
type curveSection struct {
	Title  string
	Charts []chart
}

// curves draws what metrics.jsonl holds.
func curves(r *Run, metrics []Metrics) []curveSection {
	logs := map[string][]Metrics{}
	var stages []string
	for _, l := range metrics {
		if logs[l.Stage] == nil && strings.HasPrefix(l.Stage, "rl-") {
			stages = append(stages, l.Stage)
		}
		logs[l.Stage] = append(logs[l.Stage], l)
	}
	for s := range logs {
		logs[s] = inOrder(logs[s])
	}
	rl := curveSection{Title: "Reinforcement learning"}
	for _, p := range rlPanels(r) {
		rl.add(p.quantity, compared(stages, logs, p.value))
	}
	for _, s := range stages {
		rl.add(heldOutPanel(s, logs[s]))
	}
	steps := curveSection{Title: "Reinforcement learning, step by step"}
	for _, name := range stepNames(r) {
		q := quantity{title: "Step accuracy: " + name, good: "where a rule can tell; higher is better", share: true}
		steps.add(q, compared(stages, logs, named("step/"+name+"/correct")))
	}
	for _, s := range stages {
		steps.add(maskedPanel(r, s, logs[s]))
	}
	around := curveSection{Title: "Warm-up and distillation"}
	for _, s := range []struct{ name, title, good string }{
		{"warmup", "Warm-up loss", "nats per token of the teacher's traces; lower is closer to the teacher, errors included"},
		{"distill", "Distillation loss", "lower is closer to the teacher's belief and the labels"},
	} {
		around.add(quantity{title: s.title, good: s.good, log: true}, []curve{{stageLabel(s.name), stageClass(s.name), values(logs[s.name], named("loss"))}})
	}
	return slices.DeleteFunc([]curveSection{rl, steps, around}, func(s curveSection) bool { return len(s.Charts) == 0 })
}

// compared is one line per stage.
func compared(stages []string, logs map[string][]Metrics, value reading) []curve {
	var lines []curve
	for _, s := range stages {
		lines = append(lines, curve{stageLabel(s), stageClass(s), values(logs[s], value)})
	}
	return lines
}

func (s *curveSection) add(q quantity, lines []curve) {
	if c, ok := drawChart(q, lines); ok {
		s.Charts = append(s.Charts, c)
	}
}

// reading takes a chart's value out of a step's metrics, if it is there.
type reading func(map[string]float64) (float64, bool)

func named(name string) reading {
	return func(m map[string]float64) (float64, bool) { v, ok := m[name]; return v, ok }
}

type panel struct {
	quantity
	value reading
}

// rlPanels are the charts in which the stages are compared.
func rlPanels(r *Run) []panel {
	return []panel{
		{quantity{title: "Reward", good: "share of sampled answers with the right label; higher is better", share: true}, named("reward/label")},
		{quantity{title: "Mean step accuracy", good: "over the steps before the label; higher is better", share: true}, meanInner(stepNames(r))},
		{quantity{title: "Right answer with a wrong step", good: "share of sampled answers; lower is better", share: true}, named("right_answer_wrong_step")},
		{quantity{title: "Live groups", good: "share of prompts whose answers differ in reward; only these teach by the outcome", share: true}, named("group/live")},
		{quantity{title: "Malformed answers", good: "share that leaves the format; lower is better", share: true}, named("malformed")},
		{quantity{title: "Gradient norm", good: "before clipping; steady is good", log: true}, named("grad_norm")},
	}
}

// heldOutPanel shows training and validation rows beside each other.
func heldOutPanel(stage string, log []Metrics) (quantity, []curve) {
	q := quantity{
		title: "Training and validation rows: " + stageLabel(stage),
		good:  "share of right labels; where the two part, the model learns its rows by heart",
		share: true,
	}
	held := values(log, named("eval/accuracy"))
	if len(held) == 0 {
		return q, nil
	}
	return q, []curve{
		{"training rows, sampled", "s1", values(log, named("reward/label"))},
		{"validation rows, greedy", "s0", held},
	}
}

// meanInner is the mean accuracy of the steps before the label.
func meanInner(steps []string) reading {
	return func(m map[string]float64) (float64, bool) {
		sum, n := 0.0, 0.0
		for _, name := range steps[:max(len(steps)-1, 0)] {
			if v, ok := m["step/"+name+"/correct"]; ok {
				sum, n = sum+v, n+1
			}
		}
		return sum / max(n, 1), n > 0
	}
}

// maskedPanel shows which steps' tokens a stage masked; a stage without step
// credit has no such chart.
func maskedPanel(r *Run, stage string, log []Metrics) (quantity, []curve) {
	q := quantity{
		title: "Masked tokens per step: " + stageLabel(stage),
		good:  "share of a step's tokens that the outcome's advantage did not reach; neither good nor bad",
		share: true,
	}
	var lines []curve
	masked := false
	for i, name := range stepNames(r) {
		points := values(log, named("credit/"+name+"/masked"))
		masked = masked || slices.ContainsFunc(points, func(p xy) bool { return p.y > 0 })
		lines = append(lines, curve{name, fmt.Sprintf("s%d", i%6), points})
	}
	if !masked {
		return q, nil
	}
	return q, lines
}

// inOrder sorts a stage's lines by step. Of a step that was written twice, the
// later line is the one that training went on from.
func inOrder(lines []Metrics) []Metrics {
	slices.SortStableFunc(lines, func(a, b Metrics) int { return cmp.Compare(a.Step, b.Step) })
	var out []Metrics
	for _, l := range lines {
		if n := len(out); n > 0 && out[n-1].Step == l.Step {
			out[n-1] = l
		} else {
			out = append(out, l)
		}
	}
	return out
}

// values are a metric's finite values.
func values(lines []Metrics, value reading) []xy {
	var out []xy
	for _, l := range lines {
		if v, ok := value(l.Values); ok && finite(v) {
			out = append(out, xy{float64(l.Step), v})
		}
	}
	return out
}
