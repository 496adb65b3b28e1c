package simulate

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/stepwise-rl/stepwise/rollout"
)

// ErrLost is the error of a sample that failed.
var ErrLost = errors.New("simulate: the sample is lost")

// Lengths is the distribution of the tokens of a sample: log-normal, cut off at Max.
type Lengths struct {
	Median, Sigma float64
	Max           int
}

// draw returns a length of at least 1.
func (l Lengths) draw(r *rand.Rand) float64 {
	return min(max(l.Median*math.Exp(l.Sigma*r.NormFloat64()), 1), float64(l.Max))
}

// Mean is the mean length, by 100,000 draws.
func (l Lengths) Mean() float64 {
	r, sum := rand.New(rand.NewPCG(1, 2)), 0.0
	for range 100_000 {
		sum += l.draw(r)
	}
	return sum / 100_000
}

// fleet is an engine of slots that take samples in the order in which they were asked
// for. It is a rollout.Concurrent that stands still while it is refreshed, and goes on
// with all samples then.
type fleet struct {
	slots   int
	shuffle *rand.Rand // if not nil, in any order
	lengths Lengths
	token   time.Duration // per token of a sample
	fail    float64       // share of samples that are lost, anywhere on their way
	refresh time.Duration

	mu      sync.Mutex
	version int64
	queue   []*job        // without a slot
	running int           // with one
	paused  bool          // during a refresh
	pauses  time.Duration // in total, the one in progress in full

	busy   time.Duration // slot time spent on tokens, until last
	last   time.Time
	tokens float64 // of samples that have ended
}

// job is a sample that is asked for.
type job struct {
	call   chan<- rollout.Completion
	c      rollout.Completion
	tokens float64
	lost   bool
	before time.Duration // fleet.pauses when it began
	timer  *time.Timer
	over   bool // nobody waits for it any longer
}

func (f *fleet) RefreshInFlight() bool { return true }

// Refresh implements rollout.Refresher.
func (f *fleet) Refresh(ctx context.Context, w rollout.Weights) error {
	f.mu.Lock()
	f.account()
	f.paused = true
	f.pauses += f.refresh
	f.mu.Unlock()
	time.Sleep(f.refresh)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.account()
	f.paused, f.version = false, w.Version
	f.start()
	return ctx.Err()
}

// account adds the slot time since it was called last.
func (f *fleet) account() {
	now := time.Now()
	if !f.paused && !f.last.IsZero() {
		f.busy += now.Sub(f.last) * time.Duration(f.running)
	}
	f.last = now
}

// start gives free slots to the jobs that have waited longest, or to any.
func (f *fleet) start() {
	for !f.paused && f.running < f.slots && len(f.queue) > 0 {
		if f.shuffle != nil {
			i := f.shuffle.IntN(len(f.queue))
			f.queue[0], f.queue[i] = f.queue[i], f.queue[0]
		}
		j := f.queue[0]
		f.queue = f.queue[1:]
		f.running++
		j.before, j.c.FirstVersion = f.pauses, f.version
		j.timer = time.AfterFunc(time.Duration(j.tokens*float64(f.token)), func() { f.end(j) })
	}
}

// end ends a job, unless there were pauses on its way.
func (f *fleet) end(j *job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if j.over {
		return
	}
	if late := f.pauses - j.before; late > 0 {
		j.before = f.pauses
		j.timer.Reset(late)
		return
	}
	f.account()
	f.running--
	f.tokens += j.tokens
	j.over, j.c.LastVersion = true, f.version
	if j.lost {
		j.c = rollout.Completion{Request: j.c.Request, Index: j.c.Index, Err: ErrLost}
	}
	j.call <- j.c
	f.start()
}

// Generate implements rollout.Engine.
func (f *fleet) Generate(ctx context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error {
	var jobs []*job
	for i, q := range reqs {
		for n := range q.N {
			r := rand.New(rand.NewPCG(q.Stream[0]^q.Stream[1]<<32, q.Stream[2]<<16+uint64(n)))
			j := &job{tokens: f.lengths.draw(r), lost: r.Float64() < f.fail}
			if j.lost {
				j.tokens *= r.Float64()
			}
			j.c = rollout.Completion{
				Request: i, Index: n, Tokens: []int32{0}, Ends: []int{0}, LogP: []float64{0}, Finish: rollout.FinishStop,
			}
			jobs = append(jobs, j)
		}
	}
	call := make(chan rollout.Completion, len(jobs))
	f.mu.Lock()
	f.account()
	for _, j := range jobs {
		j.call = call
	}
	f.queue = append(f.queue, jobs...)
	f.start()
	f.mu.Unlock()
	defer f.drop(jobs)
	for range jobs {
		select {
		case c := <-call:
			if err := emit(c); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// drop gives up the jobs that have not ended.
func (f *fleet) drop(jobs []*job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.account()
	for _, j := range jobs {
		if !j.over && j.timer != nil {
			j.timer.Stop()
			f.running--
		}
		j.over = true
	}
	f.queue = slices.DeleteFunc(f.queue, func(j *job) bool { return j.over })
	f.start()
}

// usage returns the slot time spent on tokens, and the tokens of samples that ended.
func (f *fleet) usage() (busy time.Duration, tokens float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.account()
	return f.busy, f.tokens
}
