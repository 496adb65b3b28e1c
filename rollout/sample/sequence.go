package sample

import (
	"bytes"
	"math/rand/v2"
	"slices"

	"github.com/stepwise-rl/stepwise/rollout"
)

// Sequence is a completion that is still being sampled.
type Sequence struct {
	c      rollout.Completion
	params rollout.Params
	stop   [][]byte
	text   []byte
	random rand.PCG
	done   bool
}

// NewSequence starts the sample with that index of a valid request r; request is
// the index of r among the requests of the call.
func NewSequence(request int, r *rollout.Request, index int) *Sequence {
	q := &Sequence{
		c:      rollout.Completion{Request: request, Index: index},
		params: r.Params,
		random: stream(r.Stream, index),
	}
	for _, s := range r.Params.Stop {
		q.stop = append(q.stop, []byte(s))
	}
	return q
}

// Index is the sample's index in its request.
func (q *Sequence) Index() int { return q.c.Index }

// Tokens returns the tokens drawn so far. The caller must not change them.
func (q *Sequence) Tokens() []int32 { return q.c.Tokens }

// Done reports whether the completion has ended.
func (q *Sequence) Done() bool { return q.done }

// Completion returns the finished completion. It panics if the sequence is not
// done.
func (q *Sequence) Completion() rollout.Completion {
	if !q.done {
		panic("sample: Completion of a sequence that is not done")
	}
	c := q.c
	c.Text = string(q.text)
	return c
}

// Fail ends the sequence: its Completion has only the error.
func (q *Sequence) Fail(err error) {
	q.c = rollout.Completion{Request: q.c.Request, Index: q.c.Index, Err: err}
	q.text, q.done = nil, true
}

// add appends a token that has been drawn, and ends the sequence if it is the
// last one.
func (q *Sequence) add(token int32, text []byte, logp, unit float64, eos bool) {
	q.c.Tokens = append(q.c.Tokens, token)
	q.c.LogP = append(q.c.LogP, logp)
	q.c.LogPUnit = append(q.c.LogPUnit, unit)
	before := len(q.text)
	q.text = append(q.text, text...)
	q.c.Ends = append(q.c.Ends, len(q.text))
	switch {
	case eos || q.stopsAfter(before):
		q.done, q.c.Finish = true, rollout.FinishStop
	case len(q.c.Tokens) == q.params.MaxTokens:
		q.done, q.c.Finish = true, rollout.FinishLength
	}
}

// stopsAfter reports whether the text contains a stop string that ends after its
// first seen bytes, which have been searched before.
func (q *Sequence) stopsAfter(seen int) bool {
	return slices.ContainsFunc(q.stop, func(s []byte) bool { return bytes.Contains(q.text[max(0, seen-len(s)+1):], s) })
}

// stream returns the random stream of a sample: a PCG seeded with two hashes
// of the request's stream and the sample's index.
func stream(s [3]uint64, index int) rand.PCG {
	seeds := [2]uint64{0x243f6a8885a308d3, 0x13198a2e03707344} // digits of π
	for i := range seeds {
		for _, x := range [...]uint64{s[0], s[1], s[2], uint64(index)} {
			seeds[i] = mix(seeds[i] ^ x)
		}
	}
	return *rand.NewPCG(seeds[0], seeds[1])
}

// mix is one step of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Uniform returns the next number of the sequence's stream, in [0, 1), for who draws
// its next token without [Sampler.Next]. That takes one for each token, and none at
// temperature 0.
func (q *Sequence) Uniform() float64 { return float64(q.random.Uint64()>>11) / (1 << 53) }
