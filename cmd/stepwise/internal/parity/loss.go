package parity

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// LossConfig says how Loss computes.
type LossConfig struct {
	Objective objective.Objective
	// Aggregation weighs the tokens. The Tokens of a Constant may be 0: then
	// the longest row of the line, the padded length, stands for it.
	Aggregation objective.Aggregation
	// Supervised: the objective reads no advantages.
	Supervised bool
}

// StepResult is a line of output of Loss.
type StepResult struct {
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
func Loss(r io.Reader, w io.Writer, c LossConfig) error {
	in, out := newLines(r), json.NewEncoder(w)
	for {
		line, err := in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		st, err := ReadStep(line, in.number)
		if err != nil {
			return err
		}
		res, err := c.Eval(st)
		if err != nil {
			return err
		}
		if err := out.Encode(res); err != nil {
			return err
		}
	}
}

// Eval computes loss and gradients of one step. An error is a *LineError.
func (c LossConfig) Eval(st *Step) (*StepResult, error) {
	if err := st.require(c.Objective.Needs(), !c.Supervised, readsPrompt(c.Aggregation)); err != nil {
		return nil, err
	}
	res := &StepResult{ID: st.ID, Grad: like(st.LogP), Metrics: map[string]number{}}
	if st.Entropy != nil {
		res.EntropyGrad = like(st.LogP)
	}
	layout := objective.Layout{Include: st.Mask, Keep: st.Keep, Prompt: st.Prompt}
	agg := padded(c.Aggregation, st)
	if err := agg.Validate(); err != nil {
		return nil, &LineError{Line: st.Line, Err: err}
	}
	weight, klWeight, err := agg.Weigh(layout)
	if errors.Is(err, objective.ErrNoTokens) {
		res.Loss = number(math.NaN())
		return res, nil
	}
	if err != nil {
		return nil, &LineError{Line: st.Line, Err: err}
	}
	metrics, loss := objective.Metrics{}, 0.0
	for i := range st.LogP {
		s := st.sequence(i)
		s.Weight, s.KLWeight, s.Grad = weight[i], klWeight[i], res.Grad[i]
		if st.Entropy != nil {
			s.EntropyGrad = res.EntropyGrad[i]
		}
		l, err := c.Objective.Eval(&s, metrics)
		if err == nil {
			err = checkSequence(l, &s)
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

// readsPrompt reports whether an aggregation needs the prompts.
func readsPrompt(a objective.Aggregation) bool {
	switch a := a.(type) {
	case objective.PromptMean:
		return true
	case objective.Split:
		return readsPrompt(a.Loss) || readsPrompt(a.Regularizer)
	}
	return false
}

// padded fills in the padded length of the step where it is asked for.
func padded(a objective.Aggregation, st *Step) objective.Aggregation {
	switch a := a.(type) {
	case objective.Split:
		return objective.Split{Loss: padded(a.Loss, st), Regularizer: padded(a.Regularizer, st)}
	case objective.Constant:
		if a.Tokens == 0 {
			a.Tokens = 1 // so that a step without tokens is one without a live token
			for _, row := range st.LogP {
				a.Tokens = max(a.Tokens, float64(len(row)))
			}
		}
		return a
	}
	return a
}

// sequence is row i, without weights and gradients.
func (st *Step) sequence(i int) objective.Sequence {
	row := func(rows [][]float64) []float64 {
		if rows == nil {
			return nil
		}
		return rows[i]
	}
	s := objective.Sequence{
		LogP: st.LogP[i], Old: row(st.Old), Ref: row(st.Ref), Rollout: row(st.Rollout),
		Entropy: row(st.Entropy), Adv: row(st.Advantages),
	}
	if st.Keep != nil {
		s.Keep = st.Keep[i]
	}
	return s
}

// like returns zeros in the shape of rows.
func like(rows [][]float64) [][]float64 {
	out := make([][]float64, len(rows))
	for i := range rows {
		out[i] = make([]float64, len(rows[i]))
	}
	return out
}
