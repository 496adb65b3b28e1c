package rl

import (
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/internal/settings"
)

// Schedule gives the learning rate of every optimiser step.
type Schedule interface {
	// Validate returns an error that names the first invalid setting.
	Validate() error
	// At returns the rate of an optimiser step, counted from 0.
	At(step int64) float64
}

// ScheduleFunc makes a Schedule from a function. It has no JSON form.
type ScheduleFunc func(step int64) float64

// Validate returns an error if f is nil.
func (f ScheduleFunc) Validate() error {
	if f == nil {
		return errors.New("rl: ScheduleFunc is nil, want a function")
	}
	return nil
}

// At calls f.
func (f ScheduleFunc) At(step int64) float64 { return f(step) }

// Constant is the same rate at every step.
type Constant struct {
	LR float64 `json:"lr"`
}

// Validate returns an error unless LR is a finite number of at least 0.
func (c Constant) Validate() error { return checkRate("Constant", c.LR) }

// At returns LR.
func (c Constant) At(int64) float64 { return c.LR }

// WarmupCosine rises linearly to LR over the first Warmup optimiser steps, falls along
// half a cosine to Final at the last of Total optimiser steps (Loshchilov & Hutter,
// arXiv:1608.03983, without restarts) and stays there. A Trainer takes
// Batching.OptimSteps of them in each training step. With t = step+1:
//
//	LR·t/Warmup                                                  t ≤ Warmup
//	Final + (LR−Final)·½(1 + cos(π·(t−Warmup)/(Total−Warmup)))   t ≤ Total
//
// The first step has LR/Warmup, not 0 as in Hugging Face's schedules, which
// are one step behind. Final is a rate, not a share of LR.
type WarmupCosine struct {
	LR     float64 `json:"lr"`
	Warmup int64   `json:"warmup"`
	Total  int64   `json:"total"`
	Final  float64 `json:"final"`
}

// Validate returns an error unless 0 ≤ Warmup ≤ Total, Total > 0 and 0 ≤ Final ≤ LR.
func (w WarmupCosine) Validate() error { return warmup(w).check("WarmupCosine") }

// At implements Schedule.
func (w WarmupCosine) At(step int64) float64 {
	return warmup(w).at(step, func(x float64) float64 { return (1 + math.Cos(math.Pi*x)) / 2 })
}

// WarmupLinear is WarmupCosine with a straight fall:
//
//	Final + (LR−Final)·(1 − (t−Warmup)/(Total−Warmup))   Warmup ≤ t ≤ Total
type WarmupLinear struct {
	LR     float64 `json:"lr"`
	Warmup int64   `json:"warmup"`
	Total  int64   `json:"total"`
	Final  float64 `json:"final"`
}

// Validate returns an error unless 0 ≤ Warmup ≤ Total, Total > 0 and 0 ≤ Final ≤ LR.
func (w WarmupLinear) Validate() error { return warmup(w).check("WarmupLinear") }

// At implements Schedule.
func (w WarmupLinear) At(step int64) float64 {
	return warmup(w).at(step, func(x float64) float64 { return 1 - x })
}

// warmup is the common part of the two schedules.
type warmup WarmupCosine

func (w warmup) check(of string) error {
	switch {
	case w.Total == 0:
		return fmt.Errorf("rl: %s.Total is 0, want the number of optimiser steps: the rate would be Final, %v, throughout", of, w.Final)
	case w.Warmup < 0 || w.Total < w.Warmup:
		return fmt.Errorf("rl: %s has a warm-up of %d steps of %d, want 0 ≤ Warmup ≤ Total", of, w.Warmup, w.Total)
	case !(0 <= w.Final && w.Final <= w.LR):
		return fmt.Errorf("rl: %s has a Final rate of %v after %v, want 0 ≤ Final ≤ LR: it is a rate, not a share", of, w.Final, w.LR)
	}
	return checkRate(of, w.LR)
}

// at rises to LR and then follows fall, which goes from 1 at 0 to 0 at 1.
func (w warmup) at(step int64, fall func(x float64) float64) float64 {
	switch t := step + 1; {
	case t <= w.Warmup:
		return w.LR * float64(t) / float64(w.Warmup)
	case t >= w.Total:
		return w.Final
	default:
		return w.Final + (w.LR-w.Final)*fall(float64(t-w.Warmup)/float64(w.Total-w.Warmup))
	}
}

func checkRate(of string, lr float64) error {
	if !(lr >= 0) || math.IsInf(lr, 1) {
		return fmt.Errorf("rl: %s.LR is %v, want a finite number of at least 0", of, lr)
	}
	return nil
}

// Kinds is a map[string]any from the name of a kind to its prototype: a struct, or a
// pointer to one, whose fields are the defaults. Pass your own schedules in this
// form to DecodeSchedule and EncodeSchedule:
//
//	mine := rl.Kinds{"steady": Steady{Rate: 1e-6}}
//
// Every exported field of a prototype needs a json tag.
type Kinds = settings.Kinds

// BuiltInKinds returns the kinds of this package. Pass them to another package's
// Decode if a kind of yours there has a field that is a Schedule.
func BuiltInKinds() Kinds {
	return Kinds{"constant": Constant{}, "warmup_cosine": WarmupCosine{}, "warmup_linear": WarmupLinear{}}
}

func with(own []Kinds) []Kinds { return append([]Kinds{BuiltInKinds()}, own...) }

// DecodeSchedule reads a Schedule from JSON:
//
//	{"kind":"warmup_cosine","lr":1e-3,"warmup":10,"total":500,"final":1e-4}
//
// The kinds are "constant", "warmup_cosine", "warmup_linear" and those of own.
// What the JSON leaves out is zero. Unknown kinds and fields, and invalid
// values, are errors that give the path.
func DecodeSchedule(b []byte, own ...Kinds) (Schedule, error) {
	return settings.Decode[Schedule](b, nil, with(own)...)
}

// EncodeSchedule returns s as JSON that DecodeSchedule reads: all fields, zeros
// too.
func EncodeSchedule(s Schedule, own ...Kinds) ([]byte, error) {
	return settings.Encode(s, with(own)...)
}
