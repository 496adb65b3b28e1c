package relevance

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"maps"
	"slices"

	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/task"
)

// newTask completes the definition of a source's task.
func newTask(src *rows.Source, m Models, group, maxTokens int, counter *reward.Counter) (*task.Task[rows.Example], error) {
	d := src.Definition()
	d.Encode = m.EncodePrompt
	d.GroupSize, d.Params = group, rollout.Params{Temperature: 1, MaxTokens: maxTokens}
	d.Counter = counter
	return task.New(d)
}

// generatedSample is how many examples of a stream without end its digest covers.
const generatedSample = 500

// taskDigest returns the digest of what is asked, without the data. A condition of a
// criterion is a function, of which only the text counts.
func taskDigest(src *rows.Source) (string, error) {
	h, enc := newDigest()
	for _, v := range []any{src.System, src.Compact, src.Labels, src.Meanings, src.Relevant, src.Input(placeholder(src))} {
		if err := enc.Encode(v); err != nil {
			return "", err
		}
	}
	for _, s := range src.Steps {
		texts := []string{s.Name, s.Instruction}
		for _, c := range s.Criteria {
			texts = append(texts, c.Name, c.Text)
		}
		if err := enc.Encode(append(texts, s.Answers...)); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// dataDigest returns the digest of the rows. It reads all that can be trained on, or
// the first of those that are generated.
func dataDigest(ctx context.Context, src *rows.Source) (string, error) {
	h, enc := newDigest()
	for _, v := range []any{src.Tests, src.Validation} {
		if err := enc.Encode(v); err != nil {
			return "", err
		}
	}
	n := cmp.Or(src.Size, generatedSample)
	for i := range n {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if err := enc.Encode(src.Train(i)); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// DocumentsDigest returns the digest of the different documents of a source whose
// criteria compare a pair with all of them, in any order; "" of one without criteria or
// without an end. It reads documents as they are in the data, so a source whose texts
// were cut by [Open] or [Train] has another.
func DocumentsDigest(src *rows.Source) string {
	if src.Size == 0 || len(src.Train(0).Found) == 0 {
		return ""
	}
	seen := map[[sha256.Size]byte]bool{}
	add := func(e rows.Example) {
		seen[sha256.Sum256([]byte(rows.Render(rows.Example{Document: e.Document})))] = true
	}
	for i := range src.Size {
		add(src.Train(i))
	}
	for _, d := range src.Documents {
		add(rows.OneLine(rows.Example{Document: d})) // as those of the pairs are
	}
	for _, e := range src.Validation {
		add(e)
	}
	for _, t := range src.Tests {
		for _, e := range t.Examples {
			add(e)
		}
	}
	h := sha256.New()
	for _, sum := range slices.SortedFunc(maps.Keys(seen), func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) }) {
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func newDigest() (hash.Hash, *json.Encoder) {
	h := sha256.New()
	return h, json.NewEncoder(h)
}
