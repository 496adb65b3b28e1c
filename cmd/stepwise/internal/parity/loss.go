package parity

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/preset"
)

// stepResult is a line of output of Loss.
type stepResult struct {
	ID string `json:"id"`
	// Loss is NaN, null in JSON, if no token counts for anything.
	Loss number `json:"loss"`
	// Grad is d(loss)/d(logp), EntropyGrad d(loss)/d(entropy); the latter is
	// nil, null in JSON, if the line has no entropy.
	Grad        [][]float64 `json:"grad"`
	EntropyGrad [][]float64 `json:"entropy_grad"`
	// Metrics are means; see package objective for their names.
	Metrics map[string]number `json:"metrics"`
}

// Loss reads optimiser steps from r and answers each with a line on w before
// it reads the next. At an error, a *LineError if a line is at fault, the
// answers to all lines before have been written.
//
// Settings are valid. Policy, KL, Aggregation, Reject and TopEntropy matter.
func Loss(r io.Reader, w io.Writer, p preset.Preset) error {
	out, o := json.NewEncoder(w), p.Objective()
	return eachLine(r, func(line []byte, number int) error {
		st, err := ReadStep(line, number)
		if err != nil {
			return err
		}
		res, err := st.eval(o, p)
		if err != nil {
			return err
		}
		return out.Encode(res)
	})
}

// eval computes loss and gradients. An error is a *LineError.
func (st *Step) eval(o objective.Objective, p preset.Preset) (*stepResult, error) {
	if err := st.require(o, p); err != nil {
		return nil, err
	}
	res := &stepResult{ID: st.ID, Grad: like(st.LogP), Metrics: map[string]number{}}
	if st.Entropy != nil {
		res.EntropyGrad = like(st.LogP)
	}
	metrics, loss := objective.Metrics{}, 0.0
	layout, err := st.layout(p, metrics)
	if err != nil {
		return nil, &LineError{Line: st.Line, Err: err}
	}
	var ranks [][]float64
	if o.Needs()&objective.InputCovRank != 0 {
		logp := st.Old
		if logp == nil { // inside from_rollout
			logp = st.Rollout
		}
		if ranks, err = layout.CovRanks(logp, st.Advantages); err != nil {
			return nil, &LineError{Line: st.Line, Err: err}
		}
	}
	weight, klWeight, err := p.Aggregation.Weigh(layout)
	if errors.Is(err, objective.ErrNoTokens) {
		res.Loss = number(math.NaN())
		return res, nil
	}
	if err != nil {
		return nil, &LineError{Line: st.Line, Err: err}
	}
	for i := range st.LogP {
		s := st.sequence(i)
		s.Keep, s.CovRank = row(layout.Keep, i), row(ranks, i)
		s.Weight, s.KLWeight, s.Grad, s.EntropyGrad = weight[i], klWeight[i], res.Grad[i], row(res.EntropyGrad, i)
		l, err := o.Eval(s, metrics)
		if err == nil {
			err = checkSequence(l, s)
		}
		if err != nil {
			return nil, &LineError{Line: st.Line, Field: fmt.Sprintf("logp[%d]", i), Err: err}
		}
		loss += l
	}
	if !finite(loss) {
		return nil, lineErrorf(st.Line, "", "the loss is %v", loss)
	}
	res.Loss = number(loss)
	for name, sum := range metrics {
		res.Metrics[name] = number(sum.Mean())
	}
	return res, nil
}

// layout returns the masks of the step after p's Reject and TopEntropy, and adds their
// metrics to m.
func (st *Step) layout(p preset.Preset, m objective.Metrics) (l objective.Layout, err error) {
	l = objective.Layout{Include: st.Mask, Keep: st.Keep, Prompt: st.Prompt}
	if len(p.Reject) > 0 {
		var rejected objective.Sum
		if l.Include, rejected, err = l.Reject(st.Old, st.Rollout, p.Reject...); err != nil {
			return l, err
		}
		m.Add("rejected", rejected.Sum, rejected.Count)
	}
	if p.TopEntropy > 0 {
		var threshold float64
		if l.Keep, threshold, err = l.TopEntropy(st.Entropy, p.TopEntropy); err != nil {
			return l, err
		}
		m.Add("entropy_threshold", threshold, 1)
	}
	return l, nil
}

// checkSequence returns an error unless loss and gradients are finite.
func checkSequence(loss float64, s *objective.Sequence) error {
	if !finite(loss) {
		return fmt.Errorf("the loss is %v", loss)
	}
	for t, g := range s.Grad {
		if !finite(g) {
			return fmt.Errorf("the gradient at position %d is %v", t, g)
		}
	}
	return nil
}

// like returns zeros in the shape of rows.
func like(rows [][]float64) [][]float64 {
	out := make([][]float64, len(rows))
	for i := range rows {
		out[i] = make([]float64, len(rows[i]))
	}
	return out
}
