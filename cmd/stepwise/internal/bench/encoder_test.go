package bench

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
)

var encoderDir = flag.String("encoder", "", "model folder of a cross-encoder, for BenchmarkEncoder")

// BenchmarkEncoder classifies 1, 10 and 100 sequences of mixed lengths at once, as a
// server of the model does. peers/onnx_encoder.py runs the same in onnxruntime.
func BenchmarkEncoder(b *testing.B) {
	if *encoderDir == "" {
		b.Skip("-encoder names no model folder")
	}
	backend, err := tensor.Open("cpu")
	require.NoError(b, err)
	e, err := model.LoadEncoder(backend, *encoderDir, model.Frozen())
	require.NoError(b, err)
	e.Pack(tensor.FormatFloat32)
	s, err := local.NewStudent(local.StudentConfig{Encoder: e})
	require.NoError(b, err)
	defer s.Free()
	for _, n := range []int{1, 10, 100} {
		inputs, logits, tokens := make([][]int32, n), make([][]float64, n), 0
		for i := range inputs {
			inputs[i], logits[i] = make([]int32, 16+(i*37%120)*(1+i*53%97)/97), make([]float64, e.Config().Classes)
			for j := range inputs[i] {
				inputs[i][j] = int32((7+31*i+13*j)%(e.Config().Vocab-1000) + 999)
			}
			tokens += len(inputs[i])
		}
		b.Run(fmt.Sprintf("sequences=%d", n), func(b *testing.B) {
			var times []float64
			for b.Loop() {
				start := time.Now()
				require.NoError(b, s.Logits(b.Context(), inputs, logits, false))
				times = append(times, time.Since(start).Seconds())
			}
			slices.Sort(times)
			b.ReportMetric(times[0]*1e3, "ms-best")
			b.ReportMetric(times[len(times)/2]*1e3, "ms-median")
			b.ReportMetric(float64(n)/times[0], "sequences/s")
			b.Logf("%d tokens; logits of the first: %.4f", tokens, logits[0])
		})
	}
}
