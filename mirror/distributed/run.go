package distributed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/mirror/kernel"
)

// Problem is to minimise the mean of the nodes' functions over the domain of a
// kernel.
type Problem struct {
	// Grads has one function for every node, which writes ∇fᵢ(x) to dst; nil
	// if that node runs in another process.
	Grads []func(dst, x []float64)
	// Kernel is h.
	Kernel kernel.Kernel
}

// Space says where nodes mix.
type Space uint8

const (
	// SpaceDual mixes dual points: z ← Σ wᵢⱼ·zⱼ − a·y. On the simplex the mean of
	// dual points is the normalised geometric mean.
	SpaceDual Space = iota + 1
	// SpacePrimal mixes points: z ← ∇h(Σ wᵢⱼ·xⱼ) − a·y.
	SpacePrimal
)

var spaceNames = []string{SpaceDual: "dual", SpacePrimal: "primal"}

// String returns "dual" or "primal".
func (m Space) String() string { return settings.EnumString(spaceNames, m) }

// Settings are the method's. All processes of a run must have the same.
type Settings struct {
	// Mixing has the weights of the links.
	Mixing Schedule
	// StepSize is a.
	StepSize float64
	// Tracking is gradient tracking; without it the method is plain
	// decentralised mirror descent.
	Tracking bool
	// Space is required.
	Space Space
	// Rounds is how many to make, at least 1.
	Rounds int
	// Outages are times at which nodes are down.
	Outages []Outage
	// OnRound, if not nil, sees the nodes of this process before every round and
	// after the last. It must not change or keep their slices.
	OnRound func(round int, nodes []Node)
}

// Outage is a time in which a node is down: it neither computes nor sends. The
// others know; they keep its links' weights for themselves.
type Outage struct {
	Node int
	// Start is the first round in which the node is down, and Rounds how many
	// there are.
	Start, Rounds int
	// Lose says that the node forgets all and starts anew, as in round 0. The
	// mean of the trackers is then no longer that of the gradients, and the
	// nodes converge to a point where the mean gradient is minus the
	// difference. A node that keeps its state on disk does no such damage.
	Lose bool
}

// Node is the state of a node.
type Node struct {
	Index int
	// X is the point, and Z the dual point: X = ∇h*(Z).
	X, Z []float64
	// Grad is ∇fᵢ(X), and Track the tracker, which without tracking is Grad.
	Grad, Track []float64
}

// Result is where a run ended.
type Result struct {
	// Nodes are those of this process, in order.
	Nodes []Node
	// Messages and Bits were sent by them; a number is 64 bits.
	Messages, Bits int
}

// Mean returns the mean of the nodes' points.
func (r *Result) Mean() []float64 { return Mean(r.Nodes) }

// Mean returns the mean of the points of nodes.
func Mean(nodes []Node) []float64 {
	mean := make([]float64, len(nodes[0].X))
	for _, n := range nodes {
		for i, v := range n.X {
			mean[i] += v / float64(len(nodes))
		}
	}
	return mean
}

// Consensus returns the largest difference of a coordinate of a node's point
// from that of the mean.
func Consensus(nodes []Node) float64 { return Distance(nodes, Mean(nodes)) }

// Distance returns the largest difference of a coordinate of a node's point from
// that of x, for example of an optimum that is known.
func Distance(nodes []Node, x []float64) (worst float64) {
	for _, n := range nodes {
		for i, v := range n.X {
			worst = max(worst, math.Abs(v-x[i]))
		}
	}
	return worst
}

// Run runs the nodes of this process from x0, the same for all.
//
// It is an error if the weights do not connect the nodes, if x0 is outside the
// kernel's domain, if a gradient is not finite, or if a step leaves the dual
// range: there is no backtracking here, for nodes would have to agree on it. The
// result is the same, bit for bit, whatever processes and network the nodes run
// in, as long as it delivers all messages.
func Run(ctx context.Context, p Problem, x0 []float64, s Settings, net Network) (*Result, error) {
	if err := check(p, x0, s, net); err != nil {
		return nil, err
	}
	r := runner{p: p, s: s, z0: make([]float64, len(x0)), x0: x0}
	p.Kernel.Grad(r.z0, x0)
	for i, grad := range p.Grads {
		if grad == nil {
			continue
		}
		w := newWorker(&r, i)
		if err := w.reset(); err != nil {
			return nil, fmt.Errorf("distributed: node %d at the start: %w", i, err)
		}
		r.nodes = append(r.nodes, w)
	}
	for round := range s.Rounds {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("distributed: round %d: %w", round, err)
		}
		if err := r.round(ctx, round, net); err != nil {
			return nil, fmt.Errorf("distributed: round %d: %w", round, err)
		}
	}
	r.observe(s.Rounds)
	return &Result{r.states(), r.messages, r.bits}, nil
}

func check(p Problem, x0 []float64, s Settings, net Network) error {
	switch {
	case s.Mixing == nil:
		return errors.New("distributed: Settings.Mixing is missing")
	case net == nil:
		return errors.New("distributed: there is no network")
	case s.Rounds < 1:
		return fmt.Errorf("distributed: Settings.Rounds is %d, want at least 1", s.Rounds)
	case !(s.StepSize > 0) || math.IsInf(s.StepSize, 0):
		return fmt.Errorf("distributed: Settings.StepSize is %v, want a finite positive number", s.StepSize)
	}
	if err := settings.CheckEnum("distributed: Settings.Space", spaceNames, s.Space); err != nil {
		return err
	}
	if err := s.Mixing.Validate(); err != nil {
		return err
	}
	if n := s.Mixing.Nodes(); n != len(p.Grads) {
		return fmt.Errorf("distributed: weights for %d nodes and %d gradients, want as many of each", n, len(p.Grads))
	}
	if !slices.ContainsFunc(p.Grads, func(g func(dst, x []float64)) bool { return g != nil }) {
		return errors.New("distributed: no node runs here: all of Problem.Grads are nil")
	}
	for i, o := range s.Outages {
		if o.Node < 0 || o.Node >= len(p.Grads) || o.Start < 0 || o.Rounds < 1 {
			return fmt.Errorf("distributed: Settings.Outages[%d] is of node %d for %d rounds from %d, want one of %d nodes and at least 1 round", i, o.Node, o.Rounds, o.Start, len(p.Grads))
		}
	}
	if err := kernel.Check(p.Kernel, x0); err != nil {
		return fmt.Errorf("distributed: the start: %w", err)
	}
	if v, ok := net.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}

// runner is a run's state in this process.
type runner struct {
	p              Problem
	s              Settings
	x0, z0         []float64
	nodes          []*worker
	out            []Message
	messages, bits int
}

func (r *runner) states() []Node {
	list := make([]Node, len(r.nodes))
	for i, w := range r.nodes {
		list[i] = w.Node
	}
	return list
}

func (r *runner) observe(round int) {
	if r.s.OnRound != nil {
		r.s.OnRound(round, r.states())
	}
}

// down reports whether a node is down, and whether it has to begin anew.
func (r *runner) down(node, round int) (down, anew bool) {
	for _, o := range r.s.Outages {
		if o.Node == node {
			down = down || o.Start <= round && round < o.Start+o.Rounds
			anew = anew || o.Lose && round == o.Start+o.Rounds
		}
	}
	return down, anew
}

func (r *runner) round(ctx context.Context, round int, net Network) error {
	weights := r.s.Mixing.At(round)
	for _, w := range r.nodes {
		if down, anew := r.down(w.Index, round); anew && !down {
			if err := w.reset(); err != nil {
				return fmt.Errorf("node %d, anew: %w", w.Index, err)
			}
		}
	}
	r.observe(round)
	r.out = r.out[:0]
	for _, w := range r.nodes {
		r.out = w.send(r.out, round, weights.columns[w.Index])
	}
	for _, m := range r.out {
		r.messages++
		r.bits += 64 * (len(m.Point) + len(m.Share))
	}
	in, returned, err := net.Exchange(ctx, round, r.out)
	if err != nil {
		return err
	}
	if err := r.deliver(in, returned); err != nil {
		return err
	}
	for _, w := range r.nodes {
		if err := w.receive(round, weights.rows[w.Index]); err != nil {
			return fmt.Errorf("node %d: %w", w.Index, err)
		}
	}
	return nil
}

// deliver gives each worker what is for it, in an order that does not depend on
// the network.
func (r *runner) deliver(in, returned []Message) error {
	find := func(node int) (*worker, error) {
		i, ok := slices.BinarySearchFunc(r.nodes, node, func(w *worker, n int) int { return cmp.Compare(w.Index, n) })
		if !ok {
			return nil, fmt.Errorf("the network has a message for node %d, which does not run here", node)
		}
		return r.nodes[i], nil
	}
	slices.SortStableFunc(in, func(a, b Message) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Round, b.Round))
	})
	for _, m := range in {
		w, err := find(m.To)
		if err != nil {
			return err
		}
		if m.From < 0 || m.From >= len(r.p.Grads) || len(m.Point) != len(r.x0) || r.s.Tracking && len(m.Share) != len(r.x0) {
			return fmt.Errorf("a message from node %d to %d has %d and %d numbers, want %d", m.From, m.To, len(m.Point), len(m.Share), len(r.x0))
		}
		w.in = append(w.in, m)
	}
	slices.SortStableFunc(returned, func(a, b Message) int { return cmp.Compare(a.To, b.To) })
	for _, m := range returned {
		w, err := find(m.From)
		if err != nil {
			return err
		}
		w.failed(m.To)
	}
	return nil
}

// worker runs one node.
type worker struct {
	Node
	r                       *runner
	last                    [][]float64 // what each other node sent last, to mix
	up                      []bool      // the links of this round that work
	in                      []Message
	sent                    []float64         // what is sent to mix
	shares                  map[int][]float64 // shares sent, by receiver; kept if a link fails
	kept                    []float64         // the sum of those
	scratch, oldGrad, mixed []float64
}

func newWorker(r *runner, index int) *worker {
	d := len(r.x0)
	vector := func() []float64 { return make([]float64, d) }
	w := &worker{
		Node: Node{Index: index, X: vector(), Z: vector(), Grad: vector(), Track: vector()},
		r:    r, last: make([][]float64, len(r.p.Grads)), up: make([]bool, len(r.p.Grads)),
		sent: vector(), shares: map[int][]float64{}, kept: vector(),
		scratch: vector(), oldGrad: vector(), mixed: vector(),
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
