package distributed

import (
	"fmt"
	"math"
)

// worker runs one node.
type worker struct {
	Node
	r      *runner
	last   [][]float64       // what each other node sent last, to mix
	up     []bool            // the links of this round that work
	in     []Message         // what has arrived
	sent   []float64         // what is sent to mix
	shares map[int][]float64 // of the tracker, by receiver
	kept   []float64         // the sum of those that could not be sent
	lost   bool              // whether the node lost its state, and has to begin anew when it is up

	mixed, oldGrad []float64
}

func newWorker(r *runner, index int) *worker {
	d := len(r.x0)
	vector := func() []float64 { return make([]float64, d) }
	w := &worker{
		Node: Node{Index: index, X: vector(), Z: vector(), Grad: vector(), Track: vector()},
		r:    r, last: make([][]float64, len(r.p.Grads)), up: make([]bool, len(r.p.Grads)),
		sent: vector(), shares: map[int][]float64{}, kept: vector(), mixed: vector(), oldGrad: vector(),
	}
	for j := range w.last {
		w.last[j] = vector()
	}
	return w
}

// reset is the state at the start: all nodes are taken to be at x0.
func (w *worker) reset() error {
	copy(w.X, w.r.x0)
	copy(w.Z, w.r.z0)
	for _, v := range w.last {
		copy(v, w.mixable())
	}
	if err := w.gradient(); err != nil {
		return err
	}
	copy(w.Track, w.Grad)
	return nil
}

// gradient computes the gradient at the node's point.
func (w *worker) gradient() error {
	w.r.p.Grads[w.Index](w.Grad, w.X)
	for i, v := range w.Grad {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("coordinate %d of the gradient is %v", i, v)
		}
	}
	return nil
}

// mixable is what the node gives others to mix.
func (w *worker) mixable() []float64 {
	if w.r.s.Space == SpacePrimal {
		return w.X
	}
	return w.Z
}

// send appends the node's messages of a round to out, one to each node that has
// a weight for it, and notes which links work.
func (w *worker) send(out []Message, round int, column []entry) []Message {
	clear(w.kept)
	copy(w.sent, w.mixable())
	own, _ := w.r.down(w.Index, round)
	for j := range w.up {
		other, _ := w.r.down(j, round)
		w.up[j] = !own && !other
	}
	for _, e := range column {
		if e.node == w.Index || e.value == 0 {
			continue
		}
		m := Message{Round: round, From: w.Index, To: e.node, Point: w.sent}
		if w.r.s.Tracking {
			if w.shares[e.node] == nil {
				w.shares[e.node] = make([]float64, len(w.X))
			}
			m.Share = w.shares[e.node]
			for i, v := range w.Track {
				m.Share[i] = e.value * v
			}
		}
		if w.up[e.node] {
			out = append(out, m)
		} else {
			w.failed(e.node)
		}
	}
	return out
}

// failed takes back what could not be sent.
func (w *worker) failed(to int) {
	w.up[to] = false
	for i, v := range w.shares[to] {
		w.kept[i] += v
	}
}

// receive mixes what has arrived and makes the step.
func (w *worker) receive(round int, row []entry) error {
	for _, m := range w.in {
		copy(w.last[m.From], m.Point)
	}
	clear(w.mixed)
	track := 0.0 // the node's own weight
	for _, e := range row {
		from := w.last[e.node]
		if e.node == w.Index {
			track = e.value
		}
		if e.node == w.Index || !w.up[e.node] {
			from = w.sent
		}
		for i, v := range from {
			w.mixed[i] += e.value * v
		}
	}
	copy(w.oldGrad, w.Grad)
	if down, _ := w.r.down(w.Index, round); !down {
		if err := w.step(); err != nil {
			return err
		}
	}
	if w.r.s.Tracking {
		for i, v := range w.Track {
			w.Track[i] = track*v + w.kept[i]
		}
		for _, m := range w.in {
			for i, v := range m.Share {
				w.Track[i] += v
			}
		}
		for i, v := range w.Grad {
			w.Track[i] += v - w.oldGrad[i]
		}
	} else {
		copy(w.Track, w.Grad)
	}
	w.in = w.in[:0]
	return nil
}

// step moves the point from what was mixed, along the tracker.
func (w *worker) step() error {
	k := w.r.p.Kernel
	if w.r.s.Space == SpacePrimal {
		k.Grad(w.mixed, w.mixed)
	}
	for i, v := range w.mixed {
		w.Z[i] = v - w.r.s.StepSize*w.Track[i]
	}
	if !k.Inverse(w.X, w.Z) {
		return fmt.Errorf("a step of size %v leaves the dual range of %v: use a shorter one", w.r.s.StepSize, k)
	}
	return w.gradient()
}
