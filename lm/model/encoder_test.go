package model_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

var tinyEncoder = model.EncoderConfig{Config: tiny, Classes: 5}

func newEncoder(t *testing.T) *model.Encoder {
	t.Helper()
	e, err := model.NewEncoder(backendtest.NewAsync(reference.New()), tinyEncoder, 3)
	require.NoError(t, err)
	return e
}

func predict(t *testing.T, e *model.Encoder, sequences ...[]int32) []float32 {
	t.Helper()
	var p model.Pack
	for _, ids := range sequences {
		p.Add(ids, -1)
	}
	logits := make([]float32, len(sequences)*e.Config().Classes)
	require.NoError(t, e.Predict(&p, logits))
	return logits
}

// survives checks that an encoder is the same after it was saved in dir and loaded.
func survives(t *testing.T, e *model.Encoder) (dir string) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, e.Save(dir))
	f, err := model.LoadEncoder(reference.New(), dir)
	require.NoError(t, err)
	require.Equal(t, e.Config(), f.Config())
	require.Equal(t, predict(t, e, []int32{5, 6, 7}), predict(t, f, []int32{5, 6, 7}))
	return dir
}

func TestEncoderSequencesDoNotSeeEachOther(t *testing.T) {
	e := newEncoder(t)
	a, b := []int32{1, 2, 3, 4}, []int32{9, 8}
	together := predict(t, e, a, b)
	require.InDeltaSlice(t, predict(t, e, a), together[:5], 1e-6)
	require.InDeltaSlice(t, predict(t, e, b), together[5:], 1e-6)
}

func TestEncoderLooksBothWays(t *testing.T) {
	cfg := tinyEncoder
	cfg.Pooling = model.FirstPooling
	e, err := model.NewEncoder(reference.New(), cfg, 3)
	require.NoError(t, err)
	require.NotEqual(t, predict(t, e, []int32{1, 2, 3}), predict(t, e, []int32{1, 2, 4}),
		"the first token's state depends on the last token")
}

func TestEncoderSurvivesSaveAndLoad(t *testing.T) {
	e := newEncoder(t)
	dir := survives(t, e)
	cfg, err := model.ReadEncoderConfig(dir)
	require.NoError(t, err)
	require.Equal(t, e.Config(), cfg)
	_, err = model.LoadDecoder(reference.New(), dir)
	require.ErrorContains(t, err, "is of an encoder")
}

func TestEncoderErrorsNameTheField(t *testing.T) {
	for field, change := range map[string]func(c *model.EncoderConfig){
		"Config.FF":                   func(c *model.EncoderConfig) { c.FF = 0 },
		"EncoderConfig.Classes":       func(c *model.EncoderConfig) { c.Classes = 0 },
		"EncoderConfig.Pooling":       func(c *model.EncoderConfig) { c.Pooling = "max" },
		"EncoderConfig.TieEmbeddings": func(c *model.EncoderConfig) { c.TieEmbeddings = true },
	} {
		c := tinyEncoder
		change(&c)
		_, err := model.NewEncoder(reference.New(), c, 0)
		require.ErrorContains(t, err, field)
	}
	var p model.Pack
	p.Add([]int32{1, 2}, -1)
	p.Add([]int32{3}, 0)
	require.ErrorContains(t, newEncoder(t).Predict(&p, make([]float32, 10)), "segment 1 of the pack has prefix 0")
}

// A Forward that failed leaves nothing for a Backward.
func TestEncoderBackwardAfterAFailedForward(t *testing.T) {
	b := backendtest.NewAsync(reference.New())
	e, err := model.NewEncoder(b, tinyEncoder, 1)
	require.NoError(t, err)
	var p model.Pack
	p.Add([]int32{1, 2}, -1)
	logits := make([]float32, tinyEncoder.Classes)
	require.NoError(t, e.Forward(&p, logits))
	b.FailAfter(3, errors.New("out of order"))
	require.Error(t, e.Forward(&p, logits))
	require.Error(t, b.Sync())
	require.PanicsWithValue(t, "model: Encoder.Backward without a Forward before it", func() { _ = e.Backward(logits) })
}
