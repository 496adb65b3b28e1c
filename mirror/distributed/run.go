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

// Problem is the problem to minimise the mean of the nodes' functions over the
// domain of a kernel.
type Problem struct {
	// Grads has one function for every node, which writes ∇fᵢ(x) to dst; nil
	// if that node runs in another process.
	Grads []func(dst, x []float64)
	// Kernel is h.
	Kernel kernel.Kernel
}

// Space says whether nodes mix dual or primal points.
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

// Settings are those of the method. They must be the same in all processes of a
// run.
type Settings struct {
	// Mixing has the weights of the links.
	Mixing Schedule
	// StepSize is a.
	StepSize float64
	// Tracking is gradient tracking; without it the method is plain
	// decentralised mirror descent.
	Tracking bool
	// Space says what nodes mix; required.
	Space Space
	// Rounds is the number of rounds, at least 1.
	Rounds int
	// Outages are times at which nodes are down.
	Outages []Outage
	// OnRound, if not nil, is called with the nodes of this process before every
	// round and after the last one. It must not change or keep their slices.
	OnRound func(round int, nodes []Node)
}

// Outage is a time in which a node is down: it neither computes nor sends. The
// other nodes know this and keep the weights of its links for themselves.
type Outage struct {
	Node int
	// Start is the first round in which the node is down, and Rounds the number of
	// such rounds.
	Start, Rounds int
	// Lose says that the node loses its state and starts again as in round 0. The
	// mean of the trackers then no longer equals that of the gradients, and the
	// nodes converge to a point where the mean gradient is minus the difference. A
	// node that keeps its state on disk avoids this.
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
	// Messages and Bits count what they sent; a number has 64 bits.
	Messages, Bits int
}

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

// Consensus returns how far the nodes are from agreement: the largest difference
// between a coordinate of a node's point and that of the mean.
func Consensus(nodes []Node) float64 { return Distance(nodes, Mean(nodes)) }

// Distance returns the largest difference between a coordinate of a node's point
// and that of x, such as a known optimum.
func Distance(nodes []Node, x []float64) (worst float64) {
	for _, n := range nodes {
		for i, v := range n.X {
			worst = max(worst, math.Abs(v-x[i]))
		}
	}
	return worst
}

// Run runs the nodes of this process. All start from x0.
//
// It is an error if the weights do not connect the nodes, if x0 is outside the
// kernel's domain, if a gradient is not finite, or if a step leaves the dual range:
// there is no backtracking here, because the nodes would have to agree on it.
// However the nodes are spread over processes, and whatever the network, the result
// has the same bits as long as all messages are delivered.
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

// down reports whether a node is down, and whether it is so without its state.
func (r *runner) down(node, round int) (down, lost bool) {
	for _, o := range r.s.Outages {
		if o.Node == node && o.Start <= round && round < o.Start+o.Rounds {
			down, lost = true, lost || o.Lose
		}
	}
	return down, lost
}

func (r *runner) round(ctx context.Context, round int, net Network) error {
	weights := r.s.Mixing.At(round)
	for _, w := range r.nodes {
		down, lost := r.down(w.Index, round)
		w.lost = w.lost || lost
		if w.lost && !down {
			w.lost = false
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
