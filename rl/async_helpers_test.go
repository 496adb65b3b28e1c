package rl_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
)

// author is a table policy that hands over copies of its table, and takes its time
// to train.
type author struct {
	*policytest.TablePolicy
	version int64
	saved   map[string]int64
	pace    func() time.Duration // of a forward-backward pass
	fail    error
}

func (p *author) ForwardBackward(ctx context.Context, b *rl.Batch, o objective.Objective) (float64, objective.Metrics, error) {
	if err := wait(ctx, p.pace()); err != nil {
		return 0, nil, err
	}
	if p.fail != nil {
		return 0, nil, p.fail
	}
	return p.TablePolicy.ForwardBackward(ctx, b, o)
}

func (p *author) OptimStep(ctx context.Context, o rl.OptimOptions) (rl.OptimInfo, error) {
	info, err := p.TablePolicy.OptimStep(ctx, o)
	p.version = info.Version
	return info, err
}

func (p *author) Save(ctx context.Context, name string) (string, error) {
	p.saved[name] = p.version
	return p.TablePolicy.Save(ctx, name)
}

func (p *author) Load(ctx context.Context, ref string) error {
	p.version = p.saved[ref]
	return p.TablePolicy.Load(ctx, ref)
}

func (p *author) Publish(context.Context) (rollout.Weights, error) {
	return rollout.Weights{Version: p.version, Local: logits(p.TablePolicy)}, nil
}

// fleet is an engine with a table of its own, which samples everything that is asked
// for at once. It takes new weights in flight.
type fleet struct {
	pace    func(stream [3]uint64, index int) time.Duration // of a token
	fails   func(stream [3]uint64, index int) error
	lags    func(index int) int     // so many versions that it was given are not used yet
	breaks  func(step uint64) error // a call, of the training step counted from 0
	refresh time.Duration           // that a refresh takes
	rigid   bool                    // takes no weights in flight

	mu      sync.Mutex
	weights []rollout.Weights // all that it was given
	tables  []*policytest.TablePolicy
	began   func(step uint64) // a call, of the training step counted from 0
	ended   int               // samples
}

func (e *fleet) RefreshInFlight() bool { return !e.rigid }

func (e *fleet) Refresh(ctx context.Context, w rollout.Weights) error {
	table := policytest.NewTablePolicy(vocab, nil, -1)
	for v := range int32(vocab) {
		copy(table.Logits(v), w.Local.([]float64)[v*vocab:])
	}
	if err := wait(ctx, e.refresh); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.weights, e.tables = append(e.weights, w), append(e.tables, table)
	return nil
}

// now returns the weights in use for samples of that index.
func (e *fleet) now(index int) (int64, *policytest.TablePolicy) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := len(e.weights) - 1
	if e.lags != nil {
		i = max(i-e.lags(index), 0)
	}
	return e.weights[i].Version, e.tables[i]
}

func (e *fleet) Generate(ctx context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error {
	if e.began != nil {
		e.mu.Lock()
		e.began(reqs[0].Stream[1])
		e.mu.Unlock()
	}
	if e.breaks != nil {
		if err := e.breaks(reqs[0].Stream[1]); err != nil {
			return err
		}
	}
	var mu sync.Mutex
	samples, ctx := errgroup.WithContext(ctx)
	for i, q := range reqs {
		for n := range q.N {
			samples.Go(func() error {
				c, err := e.sample(ctx, q, i, n)
				if err != nil {
					return err
				}
				e.mu.Lock()
				e.ended++
				e.mu.Unlock()
				mu.Lock()
				defer mu.Unlock()
				return emit(c)
			})
		}
	}
	return samples.Wait()
}

// sample draws each token from the weights in use when it is its turn.
func (e *fleet) sample(ctx context.Context, q rollout.Request, request, index int) (rollout.Completion, error) {
	c := rollout.Completion{Request: request, Index: index, Finish: rollout.FinishLength}
	one := q
	one.N, one.Params.MaxTokens = index+1, 1
	for t := range q.Params.MaxTokens {
		version, table := e.now(index)
		if t == 0 {
			c.FirstVersion = version
		}
		c.LastVersion = version
		one.Prompt = append(slices.Clone(q.Prompt), c.Tokens...)
		one.Stream[0] = q.Stream[0] + uint64(t)<<40
		err := table.Generate(ctx, []rollout.Request{one}, func(d rollout.Completion) error {
			if d.Index == index {
				c.Tokens, c.LogP = append(c.Tokens, d.Tokens[0]), append(c.LogP, d.LogP[0])
				c.Text += d.Text
				c.Ends = append(c.Ends, len(c.Text))
			}
			return nil
		})
		if err != nil {
			return c, err
		}
		if err := wait(ctx, e.pace(q.Stream, index)); err != nil {
			return c, err
		}
	}
	if e.fails != nil {
		if err := e.fails(q.Stream, index); err != nil {
			return rollout.Completion{Request: request, Index: index, Err: err}, nil
		}
	}
	return c, nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// numbered is a successor with a number of its own.
type numbered struct {
	successor
	number int
	fail   func(c *rollout.Completion) error
}

func (n *numbered) Judge(ctx context.Context, c *rollout.Completion) error {
	if n.fail != nil {
		if err := n.fail(c); err != nil {
			return err
		}
	}
	return n.successor.Judge(ctx, c)
}

func (n *numbered) Request() (rollout.Request, error) {
	q, err := n.successor.Request()
	q.ID = fmt.Sprint(n.number)
	return q, err
}

// asyncSetup returns a configuration for asynchronous training, of collections of 3
// problems with 4 samples, in virtual time: a sample takes up to 2 s and an update
// up to 2 s, as the seed has it.
func asyncSetup(seed uint64, a rl.Async) (rl.Config, *author, *fleet) {
	random, mu := rand.New(rand.NewPCG(seed, 1)), sync.Mutex{}
	second := func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(random.Float64() * float64(time.Second))
	}
	c, table := setup()
	p := &author{TablePolicy: table, saved: map[string]int64{}, pace: func() time.Duration { return 2 * second() }}
	e := &fleet{pace: func([3]uint64, int) time.Duration { return second() }}
	source := &rl.SliceSource{Seed: 1}
	for i := range 7 {
		source.Problems = append(source.Problems, &numbered{successor{Prompt: int32(i % vocab), Vocab: vocab, Group: 4}, i, nil})
	}
	c.Policy, c.Engine, c.Source, c.Async = p, e, source, a
	c.Batching = rl.Batching{Prompts: 3, GroupSize: 4}
	c.Objective = objective.Corrected{Objective: c.Objective, Max: 5}
	return c, p, e
}

// trace records what a run trains on.
type trace struct {
	problems  []string   // in the order of the training
	versions  [][2]int64 // first and last of all completions of each training step
	trained   int        // completions
	staleness []float64  // the largest of each training step
	metrics   []map[string]float64
	steps     atomic.Int64 // training steps done
}

// follow makes c record into a trace.
func follow(c *rl.Config) *trace {
	tr := &trace{}
	c.OnRollouts = func(_ int64, r *rl.Rollouts) error {
		v := [2]int64{1 << 40, -1}
		for g := range r.Groups {
			tr.problems = append(tr.problems, r.Requests[g].ID)
			tr.trained += len(r.Groups[g])
			for i := range r.Groups[g] {
				v[0], v[1] = min(v[0], r.Groups[g][i].FirstVersion), max(v[1], r.Groups[g][i].LastVersion)
			}
		}
		tr.versions = append(tr.versions, v)
		return nil
	}
	c.Recorder = rl.RecorderFunc(func(_ int64, m map[string]float64) error {
		tr.staleness = append(tr.staleness, m["async/staleness_max"])
		tr.metrics = append(tr.metrics, m)
		tr.steps.Add(1)
		return nil
	})
	return tr
}

// order is what a synchronous run trains on in so many steps.
func order(t testing.TB, steps int) []string {
	c, _, _ := asyncSetup(0, rl.Async{})
	var ids []string
	for range 3 * steps {
		p, err := c.Source.Next(t.Context())
		require.NoError(t, err)
		q, err := p.Request()
		require.NoError(t, err)
		ids = append(ids, q.ID)
	}
	return ids
}
