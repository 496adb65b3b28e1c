package relevance

import (
	"context"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
)

// What is best is decided here and nowhere else: among the checkpoints of a stage, and
// among the policies of a run. The best policy is the run's model, the student's
// teacher, and what the report tells of.

// qualityName is the metric of the validation that checkpoints are chosen by.
const qualityName = "quality"

// mostMalformed is the largest share of malformed answers that a best model may have
// while another has fewer. Right labels after broken steps are no reasoning.
const mostMalformed = .1

// quality orders checkpoints and policies by what they do on validation rows: by the
// metric of the run file, those with too many malformed answers after all others.
func quality(metric, malformed float64) float64 {
	if malformed > mostMalformed {
		metric -= 2 // a metric is between -1 and 1
	}
	return metric
}

// qualityOf is that of a stage's policy, and the accuracy of its steps before the label,
// which decides between equals.
func (p *pipeline) qualityOf(s *report.Scores) (value, steps float64) {
	metric := s.Accuracy
	if p.c.Validation.Metric == MetricQWK {
		metric = 0
		if s.QWK != nil {
			metric = *s.QWK
		}
	}
	if s.MeanStepAccuracy != nil {
		steps = *s.MeanStepAccuracy
	}
	malformed := 0.0
	if s.Malformed != nil {
		malformed = *s.Malformed
	}
	return quality(metric, malformed), steps
}

// policyStages are the stages that leave a policy.
func (p *pipeline) policyStages() (names []string) {
	if p.c.Warmup.Steps > 0 {
		names = append(names, warmupStage)
	}
	if p.c.Reinforce.Steps > 0 {
		for _, c := range p.c.Reinforce.Credits {
			names = append(names, creditStage(c))
		}
	}
	return names
}

// bestPolicy names the stage with the best policy, the earliest of equals, and says
// why. Without validation rows it is the one whose sampled answers were right most
// often at the end of its training.
func (p *pipeline) bestPolicy() (best, why string, err error) {
	value, steps := math.Inf(-1), 0.0
	for _, stage := range p.policyStages() {
		var r report.Stage
		if _, err := readJSON(p.f.Folder, resultFile(stage), &r); err != nil {
			return "", "", err
		}
		right := 0.0
		v, ok := r.Numbers["last_reward"]
		if !ok {
			v = -1 // the warm-up has none
		}
		because := "its sampled answers were right most often at the end of training"
		if r.Validation != nil {
			v, right = p.qualityOf(r.Validation)
			because = fmt.Sprintf("the best on validation rows (%s)", p.c.Validation.Metric)
			if m := r.Validation.Malformed; m != nil && *m > mostMalformed {
				because += fmt.Sprintf(", although %.0f%% of its answers there are malformed", 100**m)
			}
		}
		if v > value || v == value && right > steps || best == "" {
			best, why, value, steps = stage, because, v, right
		}
	}
	return best, why, nil
}

// bestCheckpoint is the stage's checkpoint of the best quality, the earliest of equals;
// the last one if none was validated.
func (p *pipeline) bestCheckpoint(ctx context.Context, stage string) (checkpoint.Checkpoint, error) {
	store := p.f.Checkpoints(stage)
	best, err := store.Latest(ctx)
	if err != nil {
		return best, fmt.Errorf("the weights of stage %s: %w", stage, err)
	}
	all, err := store.List()
	if err != nil {
		return best, err
	}
	value := func(c checkpoint.Checkpoint) float64 {
		if v, ok := c.Metrics[evalName(qualityName)]; ok {
			return v
		}
		return math.Inf(-1)
	}
	for _, c := range all {
		if c.Damage == nil && (value(c) > value(best) || value(c) == value(best) && c.Step < best.Step && !math.IsInf(value(c), -1)) {
			best = c
		}
	}
	return best, nil
}
