package reference

import (
	"cmp"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// Sample draws a token for each of d from a row of logits, by inversion of the
// cumulative distribution. TopP is a share of what TopK has left, as in vLLM and in
// Hugging Face transformers.
func (b *Backend[E]) Sample(drawn, logits tensor.Buffer, vocab int, d *tensor.Draws) {
	shape.Sample(drawn, logits, vocab, d)
	out, zs := b.output(drawn, logits), b.data(logits)
	for i, r := range d.Rows {
		token, logp, unit := draw(row(zs, int(r), vocab), float64(d.Temperature[i]), int(d.TopK[i]), float64(d.TopP[i]), float64(d.Uniform[i]))
		out[3*i], out[3*i+1], out[3*i+2] = E(token), E(logp), E(unit)
	}
}

// TopK writes the indices of the k largest of the first among elements of each row of
// x into ids.
func (b *Backend[E]) TopK(ids, x tensor.Buffer, rows, cols, among, k int) {
	shape.TopK(ids, x, rows, cols, among, k)
	out, xs := b.output(ids, x), b.data(x)
	for i := range rows {
		z := row(xs, i, cols)[:among]
		var order []int // the largest first
		for j, v := range z {
			if v == v {
				order = append(order, j)
			}
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(z[b], z[a]) })
		top := row(out, i, k)
		for j := range top {
			top[j] = -1
			if j < len(order) {
				top[j] = E(order[j])
			}
		}
	}
}

// draw returns the token, its log-prob at the temperature and that at temperature 1.
func draw[E Element](z []E, temperature float64, topK int, topP, u float64) (token int, logp, unit float64) {
	for _, v := range z {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 1) {
			return -1, 0, 0
		}
	}
	if math.IsInf(float64(slices.Max(z)), -1) {
		return -1, 0, 0
	}
	units := logSoftmax(z, 1)
	logs := units
	if temperature != 0 && temperature != 1 {
		logs = logSoftmax(z, min(1/temperature, math.MaxFloat32))
	}
	order := make([]int, len(z)) // ids, the most likely first
	for j := range order {
		order[j] = j
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(z[j], z[i]) })
	if temperature == 0 {
		return order[0], units[order[0]], units[order[0]]
	}
	if 0 < topK && topK < len(order) {
		order = order[:topK]
	}
	total := mass(order, logs)
	if 0 < topP && topP < 1 {
		n := 1
		for sum := math.Exp(logs[order[0]]); n < len(order) && sum < topP*total; n++ {
			sum += math.Exp(logs[order[n]])
		}
		order = order[:n]
		total = mass(order, logs)
	}
	slices.Sort(order)
	sum := 0.0
	for _, j := range order {
		if p := math.Exp(logs[j]); p > 0 {
			token = j // the last one, should rounding leave the sum below u
			if sum += p; sum > u*total {
				break
			}
		}
	}
	return token, logs[token], units[token]
}

func mass(ids []int, logs []float64) float64 {
	sum := 0.0
	for _, j := range ids {
		sum += math.Exp(logs[j])
	}
	return sum
}

// logSoftmax returns log softmax(scale·z).
func logSoftmax[E Element](z []E, scale float64) []float64 {
	top, sum := float64(slices.Max(z)), 0.0
	logs := make([]float64, len(z))
	for j, v := range z {
		logs[j] = scale * (float64(v) - top)
		sum += math.Exp(logs[j])
	}
	log := math.Log(sum)
	for j := range logs {
		logs[j] -= log
	}
	return logs
}
