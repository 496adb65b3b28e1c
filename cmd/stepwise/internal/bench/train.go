package bench

import (
	"time"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// trainer takes steps of next-token prediction on one pack.
type trainer struct {
	*model.Decoder
	opt         *optim.AdamW
	pack        model.Pack
	targets     model.Targets
	logp, dlogp []float32
}

func newTrainer(b tensor.Backend, s shape) (*trainer, error) {
	d, err := model.NewDecoder(b, s.Config, seed)
	if err != nil {
		return nil, err
	}
	opt, err := optim.NewAdamW(b, d.Params(), optim.DefaultConfig())
	if err != nil {
		return nil, err
	}
	return &trainer{Decoder: d, opt: opt}, nil
}

func (t *trainer) free() {
	t.opt.Free()
	t.Decoder.Free()
}

// token is the i-th of a fixed text.
func (t *trainer) token(i int) int32 { return int32(i * 7919 % t.Config().Vocab) }

// text is a part of it.
func (t *trainer) text(from, n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = t.token(from + i)
	}
	return ids
}

// aim adds targets ids, the first of them after row first and the others after
// the rows from row next on.
func (t *trainer) aim(first, next int, ids []int32) {
	for i, id := range ids {
		row := first
		if i > 0 {
			row = next + i - 1
		}
		t.targets.Rows = append(t.targets.Rows, int32(row))
		t.targets.IDs = append(t.targets.IDs, id)
	}
}

// ready sizes what a step needs for the pack's targets.
func (t *trainer) ready() {
	n := len(t.targets.IDs)
	t.logp, t.dlogp = make([]float32, n), make([]float32, n)
	for i := range t.dlogp {
		t.dlogp[i] = -1 / float32(n)
	}
}

// sequences packs count sequences.
func (t *trainer) sequences(count, length int) {
	for i := range count {
		row := t.pack.Rows()
		t.pack.Add(t.text(i*length, length), -1)
		t.aim(row, row+1, t.text(i*length+1, length))
	}
	t.ready()
}

// step is a forward pass, a backward pass and an AdamW update.
func (t *trainer) step() error {
	if err := t.Forward(&t.pack, &t.targets, t.logp, nil); err != nil {
		return err
	}
	if err := t.Backward(t.dlogp, nil); err != nil {
		return err
	}
	_, err := t.opt.Step(1e-4, 1)
	t.opt.ZeroGrad()
	return err
}

// trains reports whether training is measured: with 8B, float32 weights with gradients
// and moments take 128 GB.
func (s shape) trains() bool { return s.name != "8B" }

func (r *runner) train() error {
	sequences, length := 16, 256
	if r.quick {
		sequences, length = 2, 32
	}
	return r.eachShape(func(b tensor.Backend, s shape) error {
		if !s.trains() {
			return nil
		}
		t, err := newTrainer(b, s)
		if err != nil {
			return err
		}
		defer t.free()
		t.sequences(sequences, length)
		res, err := r.rounds(3, 5*time.Second, t.step)
		if err != nil {
			return err
		}
		tokens := float64(sequences * length)
		r.report.Train = append(r.report.Train, Train{
			Model: s.name, Parameters: parameters(t.Decoder), Sequences: sequences, Length: length,
			TokensPerSecond:       tokens / res[0].seconds,
			FLOPsUtilization:      share(tokens*s.trainFLOPs(parameters(t.Decoder), length)/res[0].seconds/1e9, res[0].peak),
			TFLOPS:                tokens * s.trainFLOPs(parameters(t.Decoder), length) / res[0].seconds / 1e12,
			ActivationBytes:       t.ActivationBytes(),
			AllocatedBytesPerStep: res[0].allocated,
		})
		r.measured("train %s: %.0f tokens/s", s.name, tokens/res[0].seconds)
		return nil
	})
}

// trainFLOPs is what a token of a sequence costs forward and backward: six
// operations per weight (the tied embedding's are those of the head), and per
// layer and head twice the product of its head dimension with the mean number
// of keys that it sees, two operations each, three times.
func (s shape) trainFLOPs(parameters, length int) float64 {
	seen := float64(length+1) / 2
	return 6*float64(parameters) + 3*float64(s.Layers)*4*float64(s.Dim)*seen
}
