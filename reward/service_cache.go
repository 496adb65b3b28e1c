package reward

import (
	linked "container/list"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"
)

// question identifies what a service is asked. It is a digest, so that a long key
// does not stay in memory.
type question [sha256.Size]byte

func newQuestion(rule int64, step int, keys []string) question {
	b := binary.BigEndian.AppendUint64(nil, uint64(rule))
	b = binary.BigEndian.AppendUint64(b, uint64(step))
	for _, k := range keys {
		b = binary.BigEndian.AppendUint64(b, uint64(len(k)))
		b = append(b, k...)
	}
	return sha256.Sum256(b)
}

// answers keeps the answers to the questions asked last, and lets whoever asks a
// question that is being asked wait for the answer. Unlike singleflight it leaves
// no goroutine behind, and who waits does not share the fate of a caller whose
// context ends.
type answers struct {
	mu      sync.Mutex
	size    int                          // how many to keep
	kept    map[question]*linked.Element // of used
	used    *linked.List                 // of *answer, the last used in front
	pending map[question]*answer
}

type answer struct {
	question question
	// done is closed when nobody asks any longer. Unless there is an answer by
	// then, its asker was interrupted.
	done     chan struct{}
	answered bool
	scores   []Score
	err      error
}

func newAnswers(size int) answers {
	return answers{size: size, kept: map[question]*linked.Element{}, used: linked.New(), pending: map[question]*answer{}}
}

// get returns the answer to q, which it calls ask for if nobody else has or does.
func (a *answers) get(ctx context.Context, q question, ask func() ([]Score, error)) ([]Score, error) {
	for {
		got, first := a.find(q)
		if first {
			return a.settle(ctx, got, ask)
		}
		select {
		case <-got.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if got.answered {
			return got.scores, got.err
		}
	}
}

// find returns the answer to q, kept or pending. first says that there was
// neither, and the caller has to settle it.
func (a *answers) find(q question) (got *answer, first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.kept[q]; ok {
		a.used.MoveToFront(e)
		return e.Value.(*answer), false
	}
	if got, ok := a.pending[q]; ok {
		return got, false
	}
	got = &answer{question: q, done: make(chan struct{})}
	a.pending[q] = got
	return got, true
}

// settle asks for an answer, and keeps it unless asking failed. A panic of ask
// interrupts it as the end of ctx does.
func (a *answers) settle(ctx context.Context, got *answer, ask func() ([]Score, error)) ([]Score, error) {
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.pending, got.question)
		if got.answered && got.err == nil && a.size > 0 {
			a.kept[got.question] = a.used.PushFront(got)
		}
		if a.used.Len() > a.size {
			oldest := a.used.Remove(a.used.Back()).(*answer)
			delete(a.kept, oldest.question)
		}
		close(got.done)
	}()
	scores, err := ask()
	if err == nil || ctx.Err() == nil {
		got.scores, got.err, got.answered = scores, err, true
	}
	return scores, err
}
