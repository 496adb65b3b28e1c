package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// embeddingStd is the standard deviation of initial embeddings, and of the
// output projection, at width dim. The logits of normalised states then begin
// with unit variance at any width. GPT-2 and Llama have 0.02, which is right for
// width 2500 and makes narrow models learn much more slowly.
func embeddingStd(dim int) float64 { return 1 / math.Sqrt(float64(dim)) }

// fanInStd is the standard deviation of an initial projection from in inputs:
// GPT-2's 0.02 at width 1024, scaled so that activations have the same size at
// any width.
func fanInStd(in int) float64 { return 0.64 / math.Sqrt(float64(in)) }

// residualStd is fanInStd for a projection that adds to the residual stream. It
// is smaller, so that 2·layers additions sum to the same variance at any depth
// (GPT-2).
func residualStd(in, layers int) float64 { return fanInStd(in) / math.Sqrt(2*float64(layers)) }

// maker creates parameters.
type maker struct {
	b      tensor.Backend // nil = names and shapes only
	seed   uint64
	random bool // matrices are drawn; otherwise they stay 0, to be loaded
	// later keeps matrices in drawings, for drawAll, instead of drawing each.
	later    bool
	drawings []drawing
	frozen   bool // no gradients
	// randomHead draws what comes after an encoder's body, although the body
	// is loaded.
	randomHead bool
	params     []*tensor.Param
	views      []*tensor.Param // of rows
}

// matrix returns a parameter [rows×cols] drawn from a normal distribution. Its
// random stream depends on the seed and on its place among the parameters.
func (m *maker) matrix(name string, rows, cols int, std float64) *tensor.Param {
	p := m.add(name, rows, cols)
	if m.b != nil {
		tensor.KeepWeight(m.b, p.Value)
	}
	if m.random {
		d := drawing{p.Value, rand.New(rand.NewPCG(m.seed, uint64(len(m.params)))), std}
		if m.later {
			m.drawings = append(m.drawings, d)
		} else {
			d.draw(m.b, &sync.Mutex{})
		}
	}
	return p
}

// rows returns rows [from, to) of a matrix as a parameter that shares its memory.
func (m *maker) rows(p *tensor.Param, from, to int) *tensor.Param {
	cols := p.Shape[1]
	v := &tensor.Param{Name: p.Name, Shape: []int{to - from, cols}}
	m.views = append(m.views, v)
	if p.Value != nil {
		v.Value = m.b.Slice(p.Value, from*cols, to*cols)
	}
	if p.Grad != nil {
		v.Grad = m.b.Slice(p.Grad, from*cols, to*cols)
	}
	return v
}

// vector returns a parameter [n] whose elements are v, exempt from weight decay.
func (m *maker) vector(name string, n int, v float32) *tensor.Param {
	p := m.add(name, n)
	p.NoDecay = true
	if m.b != nil {
		m.b.Fill(p.Value, v)
	}
	return p
}

func (m *maker) norm(name string, n int, eps float64) *rmsNorm {
	return &rmsNorm{W: m.vector(name, n, 1), Eps: eps}
}

func (m *maker) add(name string, shape ...int) *tensor.Param {
	p := &tensor.Param{Name: name, Shape: shape}
	m.params = append(m.params, p)
	if m.b == nil {
		return p
	}
	p.Value = m.b.Alloc(p.Len())
	if !m.frozen {
		p.Grad = m.b.Alloc(p.Len())
	}
	return p
}

// failed frees the parameters and returns an error if the backend has failed, as far as
// it is known by now. The backend can be used again.
func (m *maker) failed() error {
	err := tensor.Err(m.b)
	if err == nil {
		return nil
	}
	n := 0
	for _, p := range m.params {
		n += p.Len()
		m.b.Free(p.Value)
		if p.Grad != nil {
			m.b.Free(p.Grad)
		}
	}
	_ = m.b.Sync() // clears the error
	return fmt.Errorf("model: a model of %d parameters: %w", n, err)
}

// drawing is a matrix to draw, with a random stream of its own.
type drawing struct {
	value  tensor.Buffer
	random *rand.Rand
	std    float64
}

// draw writes the matrix. Others may be drawn meanwhile; mu is held to write.
func (d *drawing) draw(b tensor.Backend, mu *sync.Mutex) {
	host := make([]float32, min(copyBlock, d.value.Len()))
	for from := 0; from < d.value.Len(); from += copyBlock {
		to := min(from+copyBlock, d.value.Len())
		for i := range host[:to-from] {
			host[i] = float32(d.random.NormFloat64() * d.std)
		}
		mu.Lock()
		b.Write(b.Slice(d.value, from, to), host[:to-from])
		mu.Unlock()
	}
}

// drawAll draws what was kept for later, on all processors: billions of random numbers
// take minutes on one.
func (m *maker) drawAll() {
	var mu sync.Mutex
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(m.drawings)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(m.drawings)); i = next.Add(1) - 1 {
				m.drawings[i].draw(m.b, &mu)
			}
		})
	}
	wg.Wait()
}

// copyBlock is how many elements are copied between host and backend at once,
// so that no large tensor is held whole on the host.
const copyBlock = 1 << 18

// writeValues fills dst from the host. It calls fill for consecutive parts.
func writeValues(b tensor.Backend, dst tensor.Buffer, fill func(part []float32) error) error {
	host := make([]float32, min(copyBlock, dst.Len()))
	for from := 0; from < dst.Len(); from += copyBlock {
		to := min(from+copyBlock, dst.Len())
		if err := fill(host[:to-from]); err != nil {
			return err
		}
		b.Write(b.Slice(dst, from, to), host[:to-from])
	}
	return nil
}

// readValues reads src to the host. It calls use with consecutive parts.
func readValues(b tensor.Backend, src tensor.Buffer, use func(part []float32) error) error {
	host := make([]float32, min(copyBlock, src.Len()))
	for from := 0; from < src.Len(); from += copyBlock {
		to := min(from+copyBlock, src.Len())
		if err := b.Read(host[:to-from], b.Slice(src, from, to)); err != nil {
			return err
		}
		if err := use(host[:to-from]); err != nil {
			return err
		}
	}
	return nil
}

// copyValues sets dst to src, which is as long and may be on another backend.
func copyValues(b tensor.Backend, dst tensor.Buffer, from tensor.Backend, src tensor.Buffer) error {
	if b == from {
		b.Copy(dst, src)
		return nil
	}
	at := 0
	return readValues(from, src, func(part []float32) error {
		b.Write(b.Slice(dst, at, at+len(part)), part)
		at += len(part)
		return nil
	})
}
