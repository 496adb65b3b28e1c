package distributed_test

import (
	"context"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/mirror/distributed"
	"github.com/stepwise-rl/stepwise/mirror/kernel"
)

func run(t require.TestingT, in instance, s distributed.Settings, net distributed.Network) *distributed.Result {
	r, err := distributed.Run(context.Background(), in.problem(), in.start, s, net)
	require.NoError(t, err)
	return r
}

// mean returns the mean over nodes of a vector of theirs.
func mean(list []distributed.Node, of func(distributed.Node) []float64) []float64 {
	sum := make([]float64, len(of(list[0])))
	for _, n := range list {
		for i, v := range of(n) {
			sum[i] += v / float64(len(list))
		}
	}
	return sum
}

func grads(n distributed.Node) []float64  { return n.Grad }
func tracks(n distributed.Node) []float64 { return n.Track }
func duals(n distributed.Node) []float64  { return n.Z }

// kinds are weights of all kinds for 16 nodes.
func kinds(t require.TestingT, seed uint64) map[string]distributed.Schedule {
	er, err := distributed.ErdosRenyi(nodes, .3, seed)
	require.NoError(t, err)
	return map[string]distributed.Schedule{
		"ring":        metropolis(t, distributed.Ring(nodes)),
		"torus":       metropolis(t, distributed.Torus(4, 4)),
		"star":        metropolis(t, distributed.Star(nodes)),
		"complete":    metropolis(t, distributed.Complete(nodes)),
		"lazy":        metropolis(t, distributed.Torus(2, 8)).Lazy(),
		"Erdős-Rényi": metropolis(t, er),
		"exponential": distributed.Exponential(nodes),
		"one peer":    distributed.OnePeer(nodes),
		"changing":    distributed.Cycle{metropolis(t, distributed.Star(nodes)), metropolis(t, er), distributed.Exponential(nodes)},
	}
}

func drawWeights(t *rapid.T) distributed.Schedule {
	all := kinds(t, rapid.Uint64().Draw(t, "seed"))
	return all[rapid.SampledFrom(slices.Sorted(maps.Keys(all))).Draw(t, "weights")]
}

// In every round and whatever the weights, the mean of the trackers is the mean
// of the gradients, and with mixing in the dual the mean dual point moves by
// minus the step times the mean tracker. Links that fail change neither.
func TestInvariants(t *testing.T) {
	all := instances()
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SampledFrom(all).Draw(t, "problem")
		mix := rapid.SampledFrom([]distributed.Space{distributed.SpaceDual, distributed.SpacePrimal}).Draw(t, "mix")
		weights := drawWeights(t)
		net := &distributed.Local{Seed: rapid.Uint64().Draw(t, "net seed")}
		_, symmetric := weights.(*distributed.Matrix)
		if symmetric {
			m := weights.At(0).Dense()
			for i := range m {
				for j := range m {
					symmetric = symmetric && m[i][j] == m[j][i]
				}
			}
		}
		if symmetric && rapid.Bool().Draw(t, "failures") {
			net.LinkFailure = .3
		}
		var dual, track []float64
		s := distributed.Settings{Mixing: weights, StepSize: in.step / 4, Tracking: true, Space: mix, Rounds: 40}
		if symmetric && rapid.Bool().Draw(t, "outage") {
			s.Outages = []distributed.Outage{{Node: 3, Start: 5, Rounds: 10}}
		}
		s.OnRound = func(round int, n []distributed.Node) {
			g, y, z := mean(n, grads), mean(n, tracks), mean(n, duals)
			for i := range g {
				require.InDelta(t, g[i], y[i], 1e-12*(1+math.Abs(g[i])), "round %d", round)
				if round > 0 && mix == distributed.SpaceDual && s.Outages == nil {
					require.InDelta(t, dual[i]-s.StepSize*track[i], z[i], 1e-12*(1+math.Abs(z[i])), "round %d", round)
				}
			}
			dual, track = z, y
		}
		run(t, in, s, net)
	})
}

func TestEveryGraphReachesTheOptimum(t *testing.T) {
	in := instances()[0]
	opt := in.optimum(t)
	for name, weights := range kinds(t, 1) {
		s := distributed.Settings{Mixing: weights, StepSize: .15, Tracking: true, Space: distributed.SpaceDual, Rounds: 3000}
		r := run(t, in, s, &distributed.Local{})
		assert.LessOrEqual(t, distributed.Distance(r.Nodes, opt), 1e-8, name)
		assert.InDeltaSlice(t, opt, distributed.Mean(r.Nodes), 1e-8, name)
	}
}

// A link that fails returns its weight to both ends' diagonals: with three links
// in ten down in every round, the nodes still end at the optimum.
func TestFailedLinks(t *testing.T) {
	in := instances()[0]
	s := distributed.Settings{Mixing: ring(t), StepSize: in.step, Tracking: true, Space: distributed.SpaceDual, Rounds: 3500}
	r := run(t, in, s, &distributed.Local{Seed: 1, LinkFailure: .3})
	t.Logf("distance %.1e", distributed.Distance(r.Nodes, in.optimum(t)))
	assert.LessOrEqual(t, distributed.Distance(r.Nodes, in.optimum(t)), 1e-10)
}

// A message that is lost without notice takes its share of the tracker with it.
// What is missing from the mean is the mean gradient at the point where the nodes
// end, which is thus not the optimum.
func TestOneSidedLossBiases(t *testing.T) {
	in := instances()[0]
	opt := in.optimum(t)
	all := in.whole()
	var bias, moved []float64
	lossy := &stoppable{net: &distributed.Local{Seed: 1, Drop: .02}, after: 200}
	s := distributed.Settings{Mixing: ring(t), StepSize: in.step / 3, Tracking: true, Space: distributed.SpaceDual, Rounds: 6000}
	s.OnRound = func(round int, n []distributed.Node) {
		y, g := mean(n, tracks), mean(n, grads)
		missing := make([]float64, len(y))
		for i := range y {
			missing[i] = g[i] - y[i]
		}
		if round == 200 {
			bias = missing
		}
		moved = missing
	}
	r := run(t, in, s, lossy)
	t.Logf("200 rounds with 2%% losses, then none: distance %.1e, consensus %.1e", distributed.Distance(r.Nodes, opt), distributed.Consensus(r.Nodes))
	assert.Greater(t, distributed.Distance(r.Nodes, opt), 1e-4, "they end elsewhere,")
	assert.LessOrEqual(t, distributed.Consensus(r.Nodes), 1e-9, "but all at one place,")
	assert.InDeltaSlice(t, bias, moved, 1e-12, "as what is lost stays lost.")
	g := make([]float64, len(opt))
	all.Grad(g, distributed.Mean(r.Nodes))
	for i := range g { // on the simplex up to a constant
		assert.InDelta(t, g[0]-bias[0], g[i]-bias[i], 1e-8)
	}
}

// stoppable loses messages only in the first rounds.
type stoppable struct {
	net   *distributed.Local
	after int
}

func (s *stoppable) Exchange(ctx context.Context, round int, out []distributed.Message) (in, returned []distributed.Message, err error) {
	if round == s.after {
		s.net.Drop = 0
	}
	return s.net.Exchange(ctx, round, out)
}

// Delayed messages are none too few and none too many: the method is slower, and
// right.
func TestDelays(t *testing.T) {
	in := instances()[0]
	s := distributed.Settings{Mixing: ring(t), StepSize: in.step / 4, Tracking: true, Space: distributed.SpaceDual, Rounds: 12000}
	r := run(t, in, s, &distributed.Local{Seed: 1, MaxDelay: 3})
	t.Logf("delays up to 3 rounds: distance %.1e", distributed.Distance(r.Nodes, in.optimum(t)))
	assert.LessOrEqual(t, distributed.Distance(r.Nodes, in.optimum(t)), 1e-8)
}

// A node that was down and kept its state does no harm; one that begins anew
// does, by exactly what its tracker then lacks.
func TestRestarts(t *testing.T) {
	in := instances()[0]
	opt := in.optimum(t)
	s := distributed.Settings{
		Mixing: ring(t), StepSize: in.step, Tracking: true, Space: distributed.SpaceDual, Rounds: 2500,
		Outages: []distributed.Outage{{Node: 5, Start: 50, Rounds: 100}, {Node: 6, Start: 120, Rounds: 10}},
	}
	r := run(t, in, s, &distributed.Local{})
	assert.LessOrEqual(t, distributed.Distance(r.Nodes, opt), 1e-10)

	s.Outages[0].Lose = true
	var lack []float64
	s.OnRound = func(round int, n []distributed.Node) {
		if round == 150 {
			y, g := mean(n, tracks), mean(n, grads)
			for i := range y {
				lack = append(lack, g[i]-y[i])
			}
		}
	}
	r = run(t, in, s, &distributed.Local{})
	t.Logf("state lost: distance %.1e", distributed.Distance(r.Nodes, opt))
	assert.Greater(t, distributed.Distance(r.Nodes, opt), 1e-5)
	all, g := in.whole(), make([]float64, len(opt))
	all.Grad(g, distributed.Mean(r.Nodes))
	for i := range g {
		assert.InDelta(t, g[0]-lack[0], g[i]-lack[i], 1e-8)
	}
}

// A node that loses its state while it is down comes back without it, also if the next
// outage follows at once or has begun before.
func TestStateIsLostInOutagesThatMeet(t *testing.T) {
	in := instances()[0]
	for _, second := range []distributed.Outage{{Node: 5, Start: 10, Rounds: 5}, {Node: 5, Start: 8, Rounds: 7}, {Node: 5, Start: 3, Rounds: 12}} {
		s := distributed.Settings{
			Mixing: ring(t), StepSize: in.step, Tracking: true, Space: distributed.SpaceDual, Rounds: 16,
			Outages: []distributed.Outage{{Node: 5, Start: 5, Rounds: 5, Lose: true}, second},
		}
		s.OnRound = func(round int, n []distributed.Node) {
			if round == 15 {
				require.Equal(t, in.start, n[5].X, "%v", second)
			}
		}
		run(t, in, s, &distributed.Local{})
	}
}

// Delays against the recursion written out for whole matrices, and all faults at
// once against themselves, these to the same bits.
func TestSimulationIsExact(t *testing.T) {
	in := instances()[3]
	w := ring(t)
	const delay, rounds = 2, 30
	s := distributed.Settings{Mixing: w, StepSize: in.step, Tracking: true, Space: distributed.SpaceDual, Rounds: rounds}
	r := run(t, in, s, late{delay: delay, queue: map[int][]distributed.Message{}})

	d := len(in.start)
	m := w.Dense()
	grad := func(i int, z []float64) []float64 {
		x, g := make([]float64, d), make([]float64, d)
		in.k.Inverse(x, z)
		in.parts[i].Grad(g, x)
		return g
	}
	start := make([]float64, d)
	in.k.Grad(start, in.start)
	z, y, g := [][][]float64{nil}, [][][]float64{nil}, make([][]float64, nodes)
	for i := range nodes {
		z[0] = append(z[0], start)
		g[i] = grad(i, start)
		y[0] = append(y[0], g[i])
	}
	for k := range rounds {
		var nextZ, nextY [][]float64
		for i := range nodes {
			zi, yi := make([]float64, d), make([]float64, d)
			for c := range d {
				yi[c] = m[i][i] * y[k][i][c]
				for j := range nodes {
					old := max(k-delay, 0)
					if j == i {
						old = k
					}
					if m[i][j] > 0 {
						zi[c] += m[i][j] * z[old][j][c]
					}
					if m[i][j] > 0 && i != j && k >= delay {
						yi[c] += m[i][j] * y[k-delay][j][c]
					}
				}
				zi[c] -= in.step * y[k][i][c]
			}
			next := grad(i, zi)
			for c := range d {
				yi[c] += next[c] - g[i][c]
			}
			g[i] = next
			nextZ, nextY = append(nextZ, zi), append(nextY, yi)
		}
		z, y = append(z, nextZ), append(y, nextY)
	}
	for i, n := range r.Nodes {
		assert.InDeltaSlice(t, z[rounds][i], n.Z, 1e-14, "node %d", i)
		assert.InDeltaSlice(t, y[rounds][i], n.Track, 1e-14, "node %d", i)
	}

	s.Outages = []distributed.Outage{{Node: 2, Start: 3, Rounds: 5, Lose: true}}
	faulty := func(seed uint64) []distributed.Node {
		return run(t, in, s, &distributed.Local{Seed: seed, LinkFailure: .2, Drop: .1, MaxDelay: 4}).Nodes
	}
	assert.Equal(t, faulty(1), faulty(1))
	assert.NotEqual(t, faulty(1), faulty(2))
}

// late delays every message by the same number of rounds.
type late struct {
	delay int
	queue map[int][]distributed.Message
}

func (l late) Exchange(_ context.Context, round int, out []distributed.Message) (in, returned []distributed.Message, err error) {
	for _, m := range out {
		m.Point, m.Share = slices.Clone(m.Point), slices.Clone(m.Share)
		l.queue[round+l.delay] = append(l.queue[round+l.delay], m)
	}
	return l.queue[round], nil, nil
}

// With one node the method is centralised mirror descent.
func TestOneNode(t *testing.T) {
	in := instances()[1]
	all := in.whole()
	w, err := distributed.NewMatrix([][]float64{{1}})
	require.NoError(t, err)
	p := distributed.Problem{Grads: []func(dst, x []float64){all.Grad}, Kernel: in.k}
	s := distributed.Settings{Mixing: w, StepSize: in.step, Tracking: true, Space: distributed.SpaceDual, Rounds: 20000}
	r, err := distributed.Run(context.Background(), p, in.start, s, &distributed.Local{})
	require.NoError(t, err)
	assert.InDeltaSlice(t, in.optimum(t), r.Nodes[0].X, 1e-12)
	assert.Zero(t, r.Messages)
}

func TestBits(t *testing.T) {
	in := instances()[0]
	s := distributed.Settings{Mixing: ring(t), StepSize: .1, Space: distributed.SpaceDual, Rounds: 10}
	assert.Equal(t, 16*2*10*5*64, run(t, in, s, &distributed.Local{}).Bits)
	s.Tracking = true
	r := run(t, in, s, &distributed.Local{})
	assert.Equal(t, 2*16*2*10*5*64, r.Bits)
	assert.Equal(t, 16*2*10, r.Messages)
}

func TestErrors(t *testing.T) {
	in, burg := instances()[0], instances()[1]
	split, err := distributed.NewMatrix([][]float64{{.5, .5, 0}, {.5, .5, 0}, {0, 0, 1}})
	require.NoError(t, err)
	type call struct {
		distributed.Problem
		distributed.Settings
		distributed.Local
		start []float64
	}
	for want, change := range map[string]func(*call){
		"Settings.Mixing is missing":                        func(c *call) { c.Mixing = nil },
		"Settings.StepSize is -1":                           func(c *call) { c.StepSize = -1 },
		"Settings.Space":                                    func(c *call) { c.Space = 0 },
		"Settings.Rounds is 0":                              func(c *call) { c.Rounds = 0 },
		"not connected: node 0 never hears of node 2":       func(c *call) { c.Mixing = split },
		"a Cycle of no weights":                             func(c *call) { c.Mixing = distributed.Cycle{} },
		"weights 1 of a Cycle are of 4 nodes, want 16":      func(c *call) { c.Mixing = distributed.Cycle{ring(t), distributed.Exponential(4)} },
		"weights for 4 nodes and 16 gradients":              func(c *call) { c.Mixing = distributed.Exponential(4) },
		"the start: kernel: the point is outside":           func(c *call) { c.start = []float64{1, 1, 1, 1, 1} },
		"Outages[0] is of node 16":                          func(c *call) { c.Outages = []distributed.Outage{{Node: 16, Rounds: 1}} },
		"Local.Drop is 1":                                   func(c *call) { c.Drop = 1 },
		"Local.MaxDelay is -1":                              func(c *call) { c.MaxDelay = -1 },
		"Local.LinkFailure is NaN":                          func(c *call) { c.LinkFailure = math.NaN() },
		"a message for node 3, which does not run here":     func(c *call) { c.Grads[3] = nil },
		"no node runs here":                                 func(c *call) { clear(c.Grads) },
		"node 2 at the start: coordinate 1 of the gradient": func(c *call) { c.Grads[2] = func(dst, _ []float64) { dst[1] = math.NaN() } },
		"round 0: node 0: a step of size 1000 leaves the dual range of Burg": func(c *call) {
			c.Problem, c.start, c.StepSize = burg.problem(), []float64{.1, .1, .1, .1, .1}, 1000
		},
	} {
		c := call{
			Problem:  in.problem(),
			Settings: distributed.Settings{Mixing: ring(t), StepSize: .1, Space: distributed.SpaceDual, Rounds: 10},
			start:    in.start,
		}
		change(&c)
		_, err := distributed.Run(context.Background(), c.Problem, c.start, c.Settings, &c.Local)
		assert.ErrorContains(t, err, want)
	}
	good := distributed.Settings{Mixing: ring(t), StepSize: .1, Space: distributed.SpaceDual, Rounds: 10}
	_, err = distributed.Run(context.Background(), in.problem(), in.start, good, nil)
	assert.ErrorContains(t, err, "there is no network")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = distributed.Run(ctx, in.problem(), in.start, good, &distributed.Local{})
	assert.ErrorIs(t, err, context.Canceled)
}

// Burg violates both assumptions that analyses of distributed mirror descent
// usually make: its gradient is not Lipschitz, and its divergence is not convex
// in the second argument. TestFourProblems has it converge all the same.
func TestBurgViolatesTheClassicalAssumptions(t *testing.T) {
	h := kernel.Burg{}
	assert.Greater(t, (h.Deriv(2e-6)-h.Deriv(1e-6))/1e-6, 1e11, "no Lipschitz constant")
	mid := h.Divergence(1, 6)
	assert.Greater(t, mid, (h.Divergence(1, 3)+h.Divergence(1, 9))/2+.01, "above the chord")
}

func TestMessageRoundTrip(t *testing.T) {
	m := distributed.Message{Round: 7, From: 1, To: 2, Point: []float64{1, math.Inf(-1), -0.0}, Share: []float64{math.SmallestNonzeroFloat64}}
	b, err := m.AppendBinary([]byte("x"))
	require.NoError(t, err)
	assert.Len(t, b, 1+20+8*4)
	var got distributed.Message
	require.NoError(t, got.UnmarshalBinary(b[1:]))
	assert.Equal(t, m, got)
	_, err = distributed.Message{Round: -1}.AppendBinary(nil)
	assert.ErrorContains(t, err, "-1, want one of 31 bits")
	assert.ErrorContains(t, got.UnmarshalBinary(b[1:8]), "a message of 7 bytes, want at least 20")
	assert.ErrorContains(t, got.UnmarshalBinary(b[1:30]), "a message of 29 bytes, want 52 for 3 and 1 numbers")
}

func FuzzMessage(f *testing.F) {
	b, _ := distributed.Message{Round: 1, From: 2, To: 3, Point: []float64{1}, Share: []float64{2, 3}}.AppendBinary(nil)
	f.Add(b)
	f.Add(b[:20])
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 19: 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m distributed.Message
		if m.UnmarshalBinary(b) != nil {
			return
		}
		again, err := m.AppendBinary(nil)
		require.NoError(t, err)
		assert.Equal(t, b, again, "the encoding is one to one")
	})
}

// Faults are as frequent as asked for, independent from round to round and from
// link to link, and delays are of all lengths.
func TestFaultsAreDrawnFairly(t *testing.T) {
	net := &distributed.Local{Seed: 3, LinkFailure: .3}
	var down [2000][50]float64
	for round := range down {
		var out []distributed.Message
		for link := range 50 {
			out = append(out, distributed.Message{Round: round, From: link, To: link + 1})
		}
		_, returned, err := net.Exchange(context.Background(), round, out)
		require.NoError(t, err)
		for _, m := range returned {
			down[round][m.From] = 1
		}
	}
	var share, rounds, links float64
	for round := range len(down) - 1 {
		for link := range 49 {
			d := down[round][link]
			share += d
			rounds += d * down[round+1][link]
			links += d * down[round][link+1]
		}
	}
	n := float64(len(down)-1) * 49
	assert.InDelta(t, .3, share/n, .006, "four standard errors")
	assert.InDelta(t, .09, rounds/n, .006)
	assert.InDelta(t, .09, links/n, .006)

	net = &distributed.Local{Seed: 3, MaxDelay: 2}
	var arrived [4]int
	for round := range 4 {
		var out []distributed.Message
		for link := 0; round == 0 && link < 3000; link++ {
			out = append(out, distributed.Message{From: link, To: link + 1})
		}
		in, _, err := net.Exchange(context.Background(), round, out)
		require.NoError(t, err)
		arrived[round] = len(in)
	}
	assert.Zero(t, arrived[3])
	for _, n := range arrived[:3] {
		assert.InDelta(t, 1000, n, 110)
	}
}
