package tinker

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/remote/tinker/internal/wire"
)

// Scaling says what a server makes of the losses of tokens before it takes their
// gradient. The protocol says that they are added up, and not every server does so.
type Scaling uint8

const (
	// ScalingDetect finds out when the policy is made: on a model that is thrown
	// away, with learning rate 0, from the gradient norms that the server
	// reports. A server that reports none is an error.
	ScalingDetect Scaling = iota
	// ScalingSum: losses are added up.
	ScalingSum
	// ScalingMean: the losses of a sequence are divided by its number of target
	// tokens, those of the prompt included, and then by the number of sequences
	// since the last optimiser step (SkyRL 0.4 with its JAX backend).
	ScalingMean
)

var scalingNames = []string{ScalingDetect: "detect", ScalingSum: "sum", ScalingMean: "mean"}

// String returns "detect", "sum" or "mean".
func (s Scaling) String() string { return settings.EnumString(scalingNames, s) }

// MarshalText returns the same; an invalid value is an error.
func (s Scaling) MarshalText() ([]byte, error) { return settings.EnumText(scalingNames, s) }

// UnmarshalText is the inverse of MarshalText.
func (s *Scaling) UnmarshalText(text []byte) error { return settings.ParseEnum(scalingNames, text, s) }

// factor is what the advantage of a token has to be multiplied by, in a sequence of n
// target tokens among the sequences of an optimiser step, to make the loss a sum.
func (s Scaling) factor(n, sequences int) float64 {
	if s == ScalingMean {
		return float64(n) * float64(sequences)
	}
	return 1
}

// detectScaling compares the gradient norms of three losses on the first target token
// of a sequence, which depends on no later one: in a sequence of two target tokens, in
// one of four, and in two of two. Added up they are as 1 : 1 : 2, as means 1 : 1/2 : 1.
func (c *Client) detectScaling(ctx context.Context, base string, l LoRA) (_ Scaling, err error) {
	m, err := c.newModel(ctx, base, l)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			m.discard(ctx)
		} else {
			err = m.unload(ctx)
		}
	}()
	two, four := []int32{1, 2, 3}, []int32{1, 2, 3, 4, 1}
	one := func(tokens []int32) sequence { return sequence{tokens: tokens, grad: []float64{-1}, at: 0} }
	var norms [3]float64
	for i, sequences := range [][]sequence{{one(two)}, {one(four)}, {one(two), one(two)}} {
		var data []wire.Datum
		for _, s := range sequences {
			data = append(data, s.forward())
		}
		logp, err := m.forward(ctx, data)
		if err != nil {
			return 0, err
		}
		for k := range sequences {
			sequences[k].logp = logp[k]
		}
		norm, ok, err := m.step(sequences, ScalingSum, 0, Adam{}.withDefaults()).run(ctx)
		if err != nil {
			return 0, err
		}
		if !ok {
			return 0, errors.New("tinker: the server reports no gradient norm, from which its scaling could be detected; set PolicyConfig.Scaling")
		}
		if norms[i] = norm; !(norm > 0) || math.IsInf(norm, 0) {
			return 0, fmt.Errorf("tinker: the scaling cannot be detected from the gradient norm %v; set PolicyConfig.Scaling", norm)
		}
	}
	long, more := norms[1]/norms[0], norms[2]/norms[0]
	near := func(a, b float64) bool { return math.Abs(a-b) < 0.1*b }
	switch {
	case near(long, 1) && near(more, 2):
		return ScalingSum, nil
	case near(long, 0.5) && near(more, 1):
		return ScalingMean, nil
	}
	return 0, fmt.Errorf("tinker: the server's scaling is none that is known: gradient norms of one loss are %v in a sequence of two target tokens, %v in one of four, %v in two of two", norms[0], norms[1], norms[2])
}
