package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// Errors of submit.
var (
	errClosed = errors.New("the server is stopping")
	errPanic  = errors.New("the scorer panicked")
)

// busyError refuses a request for which there is no room now.
type busyError struct {
	problem string
	retry   time.Duration
}

func (e busyError) Error() string { return e.problem }

var errHeld = busyError{"the bodies of all requests together are too large", time.Second}

// job is a request in the queue. The worker owns scores and err until finished is closed.
type job struct {
	ctx      context.Context
	examples []rows.Example
	steps    bool
	arrived  time.Time

	scores   []relevance.Score
	err      error
	model    *Model
	finished chan struct{}

	next   int  // guarded by batcher.mu: examples before it have been taken
	gone   bool // guarded by batcher.mu: nobody waits for it
	scored int  // the worker's
}

// chunk is the part of a job that is in a batch.
type chunk struct {
	*job
	from, to int
}

// batcher scores the documents of all requests in common batches. The oldest job has up to
// half of a batch and the others equal shares of the rest: one with many documents does not
// hold up the others, and under load jobs end one after the other, not all at their deadline.
// On a slow model, or for clients that do not wait for long, batches become smaller, or all
// that is in one would run out of time with it; the oldest then has every other document.
// A scorer that is no relevance.PairScorer gets one job at a time, whole.
type batcher struct {
	c       Config
	metrics *metrics

	mu     sync.Mutex
	jobs   []*job    // that have documents to take, in turn
	queued int       // those documents
	taken  int       // the documents that are being scored
	began  time.Time // when it began with them
	rate   float64   // documents per second in the last batches; 0 before the first
	most   int       // documents of a batch: Config.MaxBatch, or fewer on a slow model
	lately *job      // that had the first place in the last batch
	model  *Model    // of the next batch
	swap   *Model    // the one after it; jobs that have begun end with model
	closed bool

	wake chan struct{} // something changed
	done chan struct{} // the worker has ended
	base context.Context
	stop context.CancelFunc // ends base, and what is being scored
}

func newBatcher(c Config, m *Model, metrics *metrics) *batcher {
	b := &batcher{c: c, metrics: metrics, model: m, most: c.MaxBatch, wake: make(chan struct{}, 1), done: make(chan struct{})}
	b.base, b.stop = context.WithCancel(context.Background())
	go b.work()
	return b
}

func (b *batcher) notify() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// submit queues a job, or says why it does not.
func (b *batcher) submit(j *job) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refuses(len(j.examples)); err != nil {
		return err
	}
	j.scores, j.finished = make([]relevance.Score, len(j.examples)), make(chan struct{})
	b.jobs = append(b.jobs, j)
	b.addQueued(len(j.examples))
	b.notify()
	return nil
}

// welcome says why a request need not even be read, or nil.
func (b *batcher) welcome() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refuses(1)
}

// refuses says why a request with n documents may not be queued, or nil.
func (b *batcher) refuses(n int) error {
	waiting := b.before(n)
	takes := func(documents int) time.Duration { // by what the last batches took
		return time.Duration(float64(documents) / b.rate * float64(time.Second))
	}
	busy := busyError{"too many documents are waiting", time.Second}
	if b.rate > 0 {
		busy.retry = takes(waiting + b.taken)
	}
	switch {
	case b.closed:
		return errClosed
	case b.queued+n > b.c.MaxQueue,
		// Beside others it would hardly end in time. Alone it may try: the speed of small
		// batches says little of that of a large one.
		waiting > 0 && b.rate > 0 && takes(waiting+b.taken+n) > b.c.Timeout*3/4:
		return busy
	}
	return nil
}

// before is how many of the documents that wait are scored before a new job with n is done:
// jobs take turns, and the oldest has half of each batch.
func (b *batcher) before(n int) int {
	if len(b.jobs) == 0 || b.model.whole {
		return b.queued
	}
	others := 0
	for _, j := range b.jobs[1:] {
		others += min(len(j.examples)-j.next, n)
	}
	oldest := b.jobs[0]
	return others + min(len(oldest.examples)-oldest.next, others+n)
}

func (b *batcher) addQueued(n int) {
	b.queued += n
	b.metrics.queue.Set(float64(b.queued))
}

// await returns once a job is done or its time is up. Where a busy machine sees both at
// once, its time is up.
func (b *batcher) await(j *job) error {
	select {
	case <-j.finished:
		return cmp.Or(j.err, j.ctx.Err())
	case <-j.ctx.Done():
		b.abandon(j)
		return j.ctx.Err()
	}
}

// abandon takes a job out of the queue. What is being scored of it is finished.
func (b *batcher) abandon(j *job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	j.gone = true
	if b.remove(j) {
		b.addQueued(-(len(j.examples) - j.next))
	}
	b.notify() // a swap may have waited for it
}

// remove takes a job out of the queue, and reports whether it was there.
func (b *batcher) remove(j *job) bool {
	i := slices.Index(b.jobs, j)
	if i >= 0 {
		b.jobs = slices.Delete(b.jobs, i, i+1)
	}
	return i >= 0
}

// hangs reports whether the scorer has not come back though all requests of its batch have
// long run out of time.
func (b *batcher) hangs(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.taken > 0 && now.Sub(b.began) > 3*b.c.Timeout
}

// change lets m score all jobs that have not begun.
func (b *batcher) change(m *Model) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errClosed
	}
	if b.swap != nil {
		b.swap.Close()
	}
	b.swap = m
	b.notify()
	return nil
}

// current is the model of new requests.
func (b *batcher) current() *Model {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.swap != nil {
		return b.swap
	}
	return b.model
}

// close finishes what is queued, or until ctx ends as much of it as possible. It is an
// error if the scorer hangs.
func (b *batcher) close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.notify()
	select {
	case <-b.done:
	case <-ctx.Done():
	}
	b.stop()
	select {
	case <-b.done:
		return nil
	case <-time.After(b.c.Timeout):
		return b.hanging(time.Now())
	}
}

// hanging is the error of a worker that does not end.
func (b *batcher) hanging(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken == 0 {
		return fmt.Errorf("serve: the model %s hangs: it is not closed after %v", b.model.Version, b.c.Timeout)
	}
	return fmt.Errorf("serve: the scorer of model %s hangs: it began with %d documents %v ago, and has not come back %v after its context ended",
		b.model.Version, b.taken, now.Sub(b.began).Round(time.Millisecond), b.c.Timeout)
}

// work scores batches until the batcher is closed and nothing is queued.
func (b *batcher) work() {
	defer close(b.done)
	for {
		batch, wait, ended := b.take(time.Now())
		switch {
		case ended:
			b.model.Close()
			if b.swap != nil {
				b.swap.Close()
			}
			return
		case batch != nil:
			b.score(batch)
		case wait > 0:
			t := time.NewTimer(wait)
			select {
			case <-b.wake:
			case <-t.C:
			}
			t.Stop()
		default:
			<-b.wake
		}
	}
}

// take returns the next batch, or for how long it should wait for more (0: until
// something changes).
func (b *batcher) take(now time.Time) (batch []chunk, wait time.Duration, ended bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ready := b.jobs
	if b.swap != nil {
		ready = nil
		for _, j := range b.jobs {
			if j.next > 0 {
				ready = append(ready, j)
			}
		}
		if len(ready) == 0 {
			b.model.Close()
			b.model, b.swap = b.swap, nil
			b.metrics.describe(b.model)
			ready = b.jobs
		}
	}
	if len(ready) == 0 {
		return nil, 0, b.closed
	}
	if b.queued < b.c.MaxBatch && b.swap == nil && !b.closed && !b.model.whole {
		if wait = b.c.Wait - now.Sub(ready[0].arrived); wait > 0 {
			return nil, wait, false
		}
	}
	b.began = now
	turn, left, share := slices.Clone(ready), b.most, b.most/2
	switch {
	case b.model.whole:
		turn = turn[:1]
		left = len(turn[0].examples)
	case left == 1 && len(turn) > 1 && turn[0] == b.lately: // whose half is every other batch
		turn = turn[1:]
	}
	b.lately = turn[0]
	for len(turn) > 0 && left > 0 {
		j := turn[0]
		turn = turn[1:]
		n := min(len(j.examples)-j.next, left, max(left/(len(turn)+1), share, 1))
		share = 0
		batch = append(batch, chunk{j, j.next, j.next + n})
		j.next += n
		b.taken += n
		j.model = b.model
		left -= n
		b.addQueued(-n)
		if j.next < len(j.examples) {
			turn = append(turn, j)
		} else {
			b.remove(j)
		}
	}
	return batch, 0, false
}

// score scores a batch. If it fails as a whole, because of one request's texts for
// example, each request is tried alone.
func (b *batcher) score(batch []chunk) {
	start := time.Now()
	ctx, cancel := context.WithCancel(b.base)
	defer cancel()
	waiting := new(atomic.Int64) // the requests for which somebody waits
	waiting.Store(int64(len(batch)))
	for _, c := range batch {
		defer context.AfterFunc(c.ctx, func() {
			if waiting.Add(-1) == 0 {
				cancel()
			}
		})()
	}
	err := b.scoreTogether(ctx, batch)
	if err != nil && len(batch) > 1 && ctx.Err() == nil {
		for i := range batch {
			if err := b.scoreTogether(ctx, batch[i:i+1]); err != nil {
				batch[i].fail(err)
			}
		}
	} else if err != nil {
		for _, c := range batch {
			c.fail(err)
		}
	}
	all, n := 0, 0 // documents, and those that were scored
	for _, c := range batch {
		all += c.to - c.from
		if c.err == nil {
			n += c.to - c.from
		}
	}
	took := time.Since(start)
	seconds := took.Seconds()
	b.metrics.batchPairs.Observe(float64(n))
	b.metrics.batchSeconds.Observe(seconds)
	b.metrics.pairs.Add(float64(n))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken = 0
	// A batch that was given up would have been slower still; another failure says nothing
	// of the speed.
	if now := float64(all) / max(seconds, 1e-6); err == nil || ctx.Err() != nil && (b.rate == 0 || now < b.rate) {
		if b.rate == 0 {
			b.rate = now
		}
		b.rate += .2 * (now - b.rate)
	}
	switch {
	case took > b.c.Timeout/4, ctx.Err() != nil:
		b.most = max(min(b.most, all)/2, 1)
	case took < b.c.Timeout/8 && all == b.most:
		b.most = min(2*b.most, b.c.MaxBatch)
	}
	for _, c := range batch {
		c.scored += c.to - c.from
		if c.err != nil && c.next < len(c.examples) { // the rest is not wanted
			if b.remove(c.job) {
				b.addQueued(-(len(c.examples) - c.next))
			}
			c.scored += len(c.examples) - c.next
			c.next = len(c.examples)
		}
		if c.scored == len(c.examples) && !c.gone {
			close(c.finished)
		}
	}
}

func (c *chunk) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// scoreTogether fills in the scores of some chunks.
func (b *batcher) scoreTogether(ctx context.Context, batch []chunk) (err error) {
	defer func() {
		if p := recover(); p != nil {
			b.c.Log.Error("the scorer panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	var all []rows.Example
	var o relevance.ScoreOptions
	for _, c := range batch {
		all = append(all, c.examples[c.from:c.to]...)
		o.Steps = o.Steps || c.steps
	}
	scores, err := relevance.ScoreExamples(ctx, batch[0].model.Scorer, all, o)
	if err == nil && len(scores) != len(all) {
		err = fmt.Errorf("the scorer gave %d scores for %d documents", len(scores), len(all))
	}
	if err != nil {
		return err
	}
	for _, c := range batch {
		scores = scores[copy(c.scores[c.from:c.to], scores):]
	}
	return nil
}
