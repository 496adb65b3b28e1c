package optim

import (
	"fmt"
	"math"
)

// Schedule gives the learning rate of an optimiser step, counted from 0.
type Schedule func(step int64) float64

// Constant gives lr at every optimiser step.
func Constant(lr float64) Schedule {
	return func(int64) float64 { return lr }
}

// WarmupCosine rises linearly to lr over the first warmup optimiser steps, falls
// along half a cosine to final at the last of total (Loshchilov & Hutter,
// arXiv:1608.03983, without restarts) and stays there. With t = step+1:
//
//	lr·t/warmup                                                  t ≤ warmup
//	final + (lr−final)·½(1 + cos(π·(t−warmup)/(total−warmup)))   t ≤ total
//
// The rate of the first optimiser step is lr/warmup. In Hugging Face's schedules
// it is 0, and the rates come one step later. final is a rate, not a share of lr.
// It panics unless 0 ≤ warmup ≤ total and 0 ≤ final ≤ lr.
func WarmupCosine(lr float64, warmup, total int64, final float64) Schedule {
	return warmUp(lr, warmup, total, final, func(x float64) float64 { return (1 + math.Cos(math.Pi*x)) / 2 })
}

// WarmupLinear is WarmupCosine with a straight line down:
//
//	final + (lr−final)·(1 − (t−warmup)/(total−warmup))   warmup ≤ t ≤ total
func WarmupLinear(lr float64, warmup, total int64, final float64) Schedule {
	return warmUp(lr, warmup, total, final, func(x float64) float64 { return 1 - x })
}

// warmUp rises to lr and then follows fall, which goes from 1 at 0 to 0 at 1.
func warmUp(lr float64, warmup, total int64, final float64, fall func(x float64) float64) Schedule {
	if warmup < 0 || total < warmup {
		panic(fmt.Sprintf("optim: warm-up of %d steps of %d, want 0 ≤ warmup ≤ total", warmup, total))
	}
	if !(0 <= final && final <= lr) {
		panic(fmt.Sprintf("optim: a final rate of %v after %v, want 0 ≤ final ≤ lr: it is a rate, not a share", final, lr))
	}
	return func(step int64) float64 {
		switch t := step + 1; {
		case t <= warmup:
			return lr * float64(t) / float64(warmup)
		case t >= total:
			return final
		default:
			return final + (lr-final)*fall(float64(t-warmup)/float64(total-warmup))
		}
	}
}
