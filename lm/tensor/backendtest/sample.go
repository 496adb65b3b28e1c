package backendtest

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// drawSlack is by how much a backend's sum of probabilities may differ from that in
// float64, as a share of the whole, and its log-probs.
const drawSlack = 2e-5

// checkSample draws tokens in every way and checks each against the distribution
// that it was drawn from, computed in float64.
func checkSample(open func() tensor.Backend) []error {
	var errs []error
	for _, vocab := range []int{1, 2, 17, 300, 1303} {
		w := workload{name: fmt.Sprintf("Sample of %d", vocab), run: func(e *env) { errs = append(errs, drawAll(e, vocab)...) }}
		if _, err := execute(open(), w); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func drawAll(e *env, vocab int) (errs []error) {
	inf := float32(math.Inf(1))
	rows := [][]float32{e.normal(vocab, 1), e.normal(vocab, 4), make([]float32, vocab), e.normal(vocab, 0.01), e.normal(vocab, 1)}
	for j := range vocab / 2 {
		rows[4][2*j] = -inf                          // every other token is ruled out
		rows[2][2*j] = float32(math.Copysign(0, -1)) // as likely as 0
	}
	bad := len(rows) // rows without a distribution
	for _, v := range []float32{float32(math.NaN()), inf} {
		row := e.normal(vocab, 1)
		row[vocab/2] = v
		rows = append(rows, row)
	}
	none := make([]float32, vocab)
	for j := range none {
		none[j] = -inf
	}
	rows = append(rows, none)

	var d tensor.Draws
	below1 := math.Nextafter32(1, 0)
	for r := range rows {
		for _, p := range []struct {
			temperature float32
			topK        int32
			topP        float32
		}{{1, 0, 0}, {0, 0, 0}, {0, 3, 0.5}, {0.7, 0, 1}, {2, 5, 0}, {1, 1, 0}, {0.5, 0, 0.9}, {1, 40, 0.6}, {1.3, int32(vocab), 0.3}, {1e-30, 0, 0}, {1, 0, 1e-6}} {
			for _, u := range []float32{0, e.rng.Float32(), e.rng.Float32(), 0.5, below1} {
				d.Rows, d.Uniform = append(d.Rows, int32(r)), append(d.Uniform, u)
				d.Temperature, d.TopK, d.TopP = append(d.Temperature, p.temperature), append(d.TopK, p.topK), append(d.TopP, p.topP)
			}
		}
	}
	given := tensor.Draws{
		Rows: slices.Clone(d.Rows), Temperature: slices.Clone(d.Temperature), TopK: slices.Clone(d.TopK),
		TopP: slices.Clone(d.TopP), Uniform: slices.Clone(d.Uniform),
	}
	drawn := e.nan(3 * len(d.Rows))
	e.Backend.(tensor.Sampler).Sample(drawn, e.buffer(slices.Concat(rows...)), vocab, &given)
	for _, s := range [][]float32{given.Temperature, given.TopP, given.Uniform} {
		clear(s)
	}
	clear(given.Rows)
	clear(given.TopK)
	got := e.read(drawn)
	for i, r := range d.Rows {
		token, logp, unit := got[3*i], got[3*i+1], got[3*i+2]
		var err error
		if int(r) >= bad {
			if token != -1 {
				err = fmt.Errorf("token %v of a row without a distribution, want -1", token)
			}
		} else {
			err = checkDraw(rows[r], &d, i, token, float64(logp), float64(unit))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%d logits, row %d, temperature %g, top-k %d, top-p %g, random number %g: %w",
				vocab, r, d.Temperature[i], d.TopK[i], d.TopP[i], d.Uniform[i], err))
		}
	}
	e.Backend.(tensor.Sampler).Sample(e.nan(0), e.random(2*vocab), vocab, &tensor.Draws{}) // nothing
	return errs
}

// checkDraw checks one drawn token and its log-probs.
func checkDraw(z []float32, d *tensor.Draws, i int, drawn float32, logp, unit float64) error {
	token := int(drawn)
	if float32(token) != drawn || token < 0 || token >= len(z) {
		return fmt.Errorf("token %v is not one of %d", drawn, len(z))
	}
	units := logSoftmax(z, 1)
	logs, temperature := units, float64(d.Temperature[i])
	if temperature != 0 {
		logs = logSoftmax(z, min(1/temperature, math.MaxFloat32))
	}
	for _, c := range []struct {
		what      string
		got, want float64
	}{{"log-prob", logp, logs[token]}, {"log-prob at temperature 1", unit, units[token]}} {
		if !(math.Abs(c.got-c.want) <= drawSlack*max(1, math.Abs(c.want))) {
			return fmt.Errorf("%s of token %d is %v, want %v", c.what, token, c.got, c.want)
		}
	}
	order := make([]int, len(z))
	for j := range order {
		order[j] = j
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(z[b], z[a]) })
	if temperature == 0 {
		if token != order[0] {
			return fmt.Errorf("token %d, want the most likely, %d", token, order[0])
		}
		return nil
	}
	if k := int(d.TopK[i]); 0 < k && k < len(order) {
		order = order[:k]
	}
	// Rounding may make top-p keep a few tokens more or fewer.
	fewest, most := len(order), len(order)
	if p := float64(d.TopP[i]); 0 < p && p < 1 {
		total := 0.0
		for _, j := range order {
			total += math.Exp(logs[j])
		}
		keep := func(p float64) int {
			sum := 0.0
			for n, j := range order {
				if sum += math.Exp(logs[j]); sum >= p*total {
					return n + 1
				}
			}
			return len(order)
		}
		fewest, most = keep(p-drawSlack), keep(p+drawSlack)
	}
	for n := fewest; n <= most; n++ {
		before, total, kept := 0.0, 0.0, false
		for _, j := range order[:n] {
			p := math.Exp(logs[j])
			total += p
			if j < token {
				before += p
			}
			kept = kept || j == token
		}
		u, p := float64(d.Uniform[i])*total, math.Exp(logs[token])
		if kept && p > 0 && u >= before-drawSlack*total && u <= before+p+drawSlack*total {
			return nil
		}
	}
	return fmt.Errorf("token %d, whose probability is %g, is not where the random number points, among %d kept", token, math.Exp(logs[token]), most)
}

// logSoftmax returns log softmax(scale·z).
func logSoftmax(z []float32, scale float64) []float64 {
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
