package rl

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"

	"github.com/stepwise-rl/stepwise/rollout"
)

// Problem is one example joined with its task: what to sample, and how to judge
// the completions. Package task makes problems from examples, NewProblem makes one
// without steps, and you can write your own.
type Problem interface {
	// Request returns the prompt and how many completions to sample, or an
	// error that says why this example has no prompt. The error ends the
	// collection; if the source is a Lister, NewTrainer finds it.
	Request() (rollout.Request, error)
	// Judge parses and scores one completion: it writes the judge's fields of c.
	// It may be called concurrently for different completions. An error means
	// that judging itself failed, and ends the collection, unless it is a
	// reward.ErrDrop, which drops the completion. A reward that cannot be judged
	// is NaN, and a step's verdict is then VerdictUnknown.
	Judge(ctx context.Context, c *rollout.Completion) error
}

// NewProblem returns a problem without steps: a request, and a function that gives
// each completion its reward. reward may be called concurrently; its error is Judge's.
// A reward of NaN could not be judged. If reward is nil, completions have no rewards:
// for distillation (Config.Teacher), which needs none. NewTrainer refuses such a problem
// without a teacher, if the source is a Lister.
func NewProblem(q rollout.Request, reward func(ctx context.Context, c *rollout.Completion) (float64, error)) Problem {
	return scored{q, reward}
}

type scored struct {
	request rollout.Request
	reward  func(ctx context.Context, c *rollout.Completion) (float64, error)
}

func (s scored) Request() (rollout.Request, error) { return s.request, nil }

func (s scored) Judge(ctx context.Context, c *rollout.Completion) error {
	if s.reward == nil {
		return nil
	}
	r, err := s.reward(ctx, c)
	c.Rewards = []float64{r}
	return err
}

// request returns the problem's request. A problem that is nil or panics is an error.
func request(p Problem) (q rollout.Request, err error) {
	if p == nil {
		return q, errors.New("the problem is nil")
	}
	defer recoverTo(&err, "Request")
	return p.Request()
}

// judge lets the problem judge c. A panic is an error: it is in a goroutine of this
// package, where the caller could not recover it.
func judge(ctx context.Context, p Problem, c *rollout.Completion) (err error) {
	defer recoverTo(&err, "Judge")
	return p.Judge(ctx, c)
}

// recoverTo is deferred; it makes a panic an error with its text and its stack.
func recoverTo(err *error, method string) {
	switch v := recover().(type) {
	case nil:
	case error:
		*err = fmt.Errorf("panic in %s: %w\n\n%s", method, v, debug.Stack())
	default:
		*err = fmt.Errorf("panic in %s: %v\n\n%s", method, v, debug.Stack())
	}
}

// Digest returns the SHA-256, in hexadecimal, of what the problems ask for, in their
// order: IDs, prompts, numbers of completions, sampling parameters. Sources keep it
// in their states, so that a run does not go on with other problems; they compute it
// once. It says nothing about how the problems judge.
func Digest(problems []Problem) (string, error) {
	h := sha256.New()
	enc := json.NewEncoder(h)
	for i, p := range problems {
		q, err := request(p)
		if err == nil {
			q.Stream = [3]uint64{}
			err = enc.Encode(q)
		}
		if err != nil {
			return "", fmt.Errorf("rl: problem %d (%q): %w", i, q.ID, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Named is a Problem whose outcome rewards have names, for metrics. Problems of
// package task are Named.
type Named interface {
	// RewardNames returns one name per outcome reward.
	RewardNames() []string
}

// Source yields problems. One goroutine uses it.
type Source interface {
	// Next returns the next problem, or io.EOF itself when there is none left: an
	// error that wraps it ends the run as any other does.
	Next(ctx context.Context) (Problem, error)
	// State returns the source's position; Restore goes back there.
	State() ([]byte, error)
	Restore(state []byte) error
}

// Lister is a Source that knows all its problems. NewTrainer checks each of them, to
// find requests that cannot be sampled, and rewards that the estimator's weights do
// not fit, before the first training step.
type Lister interface {
	// List returns the problems that the source may yield, in any order.
	List() []Problem
}

// Observer is a Source that learns from results, such as a curriculum. The
// trainer shows it every collection before drawing problems for the next, or with
// Config.Async for a later one.
type Observer interface {
	// Observe receives the problems of a collection, including those that
	// dynamic sampling dropped, and the judged group of each. It must not
	// change or keep them.
	Observe(problems []Problem, groups []rollout.Group) error
}

// SliceSource yields a fixed list of problems for Epochs epochs, each in another
// shuffled order that depends on the seed alone.
type SliceSource struct {
	// Problems is the list; it must not change while the source is in use.
	Problems []Problem
	// Seed determines the orders.
	Seed uint64
	// Epochs is the number of passes over the list; 0 repeats forever.
	Epochs int

	epoch, next int
	order       []int
	digest      string // of Problems, once it is needed
}

// Validate returns an error if Epochs is negative. NewTrainer calls it.
func (s *SliceSource) Validate() error {
	if s.Epochs < 0 {
		return fmt.Errorf("rl: SliceSource.Epochs is %d, must not be negative", s.Epochs)
	}
	return nil
}

// Next returns the next problem, or io.EOF after the last epoch.
func (s *SliceSource) Next(ctx context.Context) (Problem, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.next == len(s.Problems) {
		s.epoch, s.next, s.order = s.epoch+1, 0, nil
	}
	if len(s.Problems) == 0 || s.Epochs > 0 && s.epoch >= s.Epochs {
		return nil, io.EOF
	}
	if s.order == nil {
		s.order = rand.New(rand.NewPCG(s.Seed, uint64(s.epoch))).Perm(len(s.Problems))
	}
	p := s.Problems[s.order[s.next]]
	s.next++
	return p, nil
}

// List returns the problems; it makes the source a Lister.
func (s *SliceSource) List() []Problem { return s.Problems }

type sliceState struct {
	Epoch    int    `json:"epoch"`
	Next     int    `json:"next"`
	Seed     uint64 `json:"seed"`
	Problems int    `json:"problems"`
	Digest   string `json:"digest"`
}

// State returns epoch and position as JSON, with the seed and the Digest of the
// problems.
func (s *SliceSource) State() ([]byte, error) {
	st, err := s.state()
	if err != nil {
		return nil, err
	}
	return json.Marshal(st)
}

func (s *SliceSource) state() (st sliceState, err error) {
	if s.digest == "" {
		if s.digest, err = Digest(s.Problems); err != nil {
			return st, err
		}
	}
	return sliceState{s.epoch, s.next, s.Seed, len(s.Problems), s.digest}, nil
}

// Restore goes back to a State of a source with the same problems, in the same
// order, and the same seed; anything else is an error that names the difference.
func (s *SliceSource) Restore(b []byte) error {
	var st sliceState
	if err := json.Unmarshal(b, &st); err != nil {
		return fmt.Errorf("rl: slice source state: %w", err)
	}
	own, err := s.state()
	if err != nil {
		return err
	}
	switch {
	case st.Problems != own.Problems:
		return fmt.Errorf("rl: slice source state is for %d problems, the source has %d", st.Problems, own.Problems)
	case st.Seed != own.Seed:
		return fmt.Errorf("rl: slice source state is for seed %d, SliceSource.Seed is %d", st.Seed, own.Seed)
	case st.Digest != own.Digest:
		return fmt.Errorf("rl: slice source state is for other problems, or another order of them: their digest is %.12s…, the source's is %.12s…", st.Digest, own.Digest)
	case st.Epoch < 0 || st.Next < 0 || st.Next > st.Problems:
		return fmt.Errorf("rl: slice source state is at position %d of epoch %d, want 0 to %d of one from 0", st.Next, st.Epoch, st.Problems)
	}
	s.epoch, s.next, s.order = st.Epoch, st.Next, nil
	return nil
}

// StreamSource yields problems that are made as they are needed, each once, in their
// order and without end.
type StreamSource struct {
	// Problem returns problem i, the same one every time.
	Problem func(i int) Problem
	// At is the number of the next problem.
	At int
}

// Next returns the next problem.
func (s *StreamSource) Next(ctx context.Context) (Problem, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.At++
	return s.Problem(s.At - 1), nil
}

// State returns At as JSON.
func (s *StreamSource) State() ([]byte, error) { return json.Marshal(s.At) }

// Restore goes back to a State.
func (s *StreamSource) Restore(state []byte) error {
	if err := json.Unmarshal(state, &s.At); err != nil {
		return fmt.Errorf("rl: stream source state: %w", err)
	}
	return nil
}
