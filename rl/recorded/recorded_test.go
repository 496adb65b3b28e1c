package recorded_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rl/recorded"
)

const vocab = 6

type letters struct{ more int }

func (letters) Bytes(id int32) []byte { return []byte{'a' + byte(id)} }
func (l letters) VocabSize() int      { return vocab + l.more }

func teacher() *policytest.TablePolicy {
	p := policytest.NewTablePolicy(vocab, nil, -1)
	p.Randomize(5, 1)
	return p
}

func batch() *rl.Batch {
	return &rl.Batch{Prompts: [][]int32{{1}, {2, 3}}, Samples: []rl.Sample{
		{Prompt: 0, Tokens: []int32{2, 0, 5}}, {Prompt: 1, Tokens: []int32{4}}, {Prompt: 1},
	}}
}

func record(t *testing.T, h recorded.Header) string {
	var out bytes.Buffer
	w, err := recorded.NewWriter(&out, h)
	require.NoError(t, err)
	b := batch()
	b.Temperature = h.Temperature
	require.NoError(t, w.Record(t.Context(), teacher(), b))
	return out.String()
}

func TestReadsWhatWasWritten(t *testing.T) {
	for _, k := range []int{3, vocab} {
		text := record(t, recorded.Header{K: k, Vocab: recorded.Digest(letters{})})
		got, err := recorded.Read(strings.NewReader(text), letters{})
		require.NoError(t, err)
		require.Equal(t, 2, got.Len())
		require.Equal(t, recorded.Header{K: k, Temperature: 1, Vocab: recorded.Digest(letters{})}, got.Header())
		want, have := [][]float64{make([]float64, 3), {0}, {}}, [][]float64{make([]float64, 3), {0}, {}}
		require.NoError(t, teacher().LogProbs(t.Context(), batch(), want))
		require.NoError(t, got.LogProbs(t.Context(), batch(), have))
		for i := range want {
			require.InDeltaSlice(t, want[i], have[i], 1e-6)
		}
		for _, few := range []int{1, 2, k} { // those that were left out go to the rest
			want, have := rl.NewTops(batch(), few), rl.NewTops(batch(), few)
			require.NoError(t, teacher().TopLogProbs(t.Context(), batch(), few, want))
			require.NoError(t, got.TopLogProbs(t.Context(), batch(), few, have))
			for i := range want {
				require.Equal(t, want[i].IDs, have[i].IDs)
				for j, p := range want[i].LogP {
					require.InDelta(t, math.Exp(p), math.Exp(have[i].LogP[j]), 1e-6)
				}
			}
		}
		require.ErrorContains(t, got.TopLogProbs(t.Context(), batch(), k+1, nil), fmt.Sprintf("%d most likely tokens, want 1 to the %d of the file", k+1, k))
	}
}

func TestWhatTheFileDoesNotHave(t *testing.T) {
	got, err := recorded.Read(strings.NewReader(record(t, recorded.Header{K: 2})), nil)
	require.NoError(t, err)
	b := batch()
	b.Samples[1].Tokens = []int32{5}
	require.ErrorContains(t, got.LogProbs(t.Context(), b, [][]float64{{0, 0, 0}, {0}, {}}), "sample 1 (2 prompt tokens and 1 completion tokens) is not in the file")
	for _, tokens := range [][]int32{{2, 0, 5, 1}, {2, 0}} { // an end more, an end less
		b.Samples[0].Tokens = tokens
		require.ErrorContains(t, got.LogProbs(t.Context(), b, [][]float64{make([]float64, len(tokens)), {0}, {}}),
			"is not in the file, which has one of 3 completion tokens that begins alike: did rl.Imitation.End")
	}
	b.Samples[0].Tokens = []int32{2, 0, 5}
	b.Temperature = .5
	require.ErrorContains(t, got.TopLogProbs(t.Context(), b, 1, rl.NewTops(b, 1)), "the batch has temperature 0.5, the file 1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, got.TopLogProbs(ctx, batch(), 1, rl.NewTops(batch(), 1)), context.Canceled)
	require.Panics(t, func() { _ = got.LogProbs(t.Context(), batch(), nil) })

	_, err = recorded.Read(strings.NewReader(record(t, recorded.Header{K: 2, Vocab: recorded.Digest(letters{1})})), letters{})
	require.ErrorContains(t, err, "line 1: the teacher's tokenizer has the digest")
	_, err = recorded.Read(strings.NewReader(record(t, recorded.Header{K: 2})), letters{})
	require.ErrorContains(t, err, `digest ""`)
}

const header = `{"format":"stepwise-recorded","version":1,"k":2,"temperature":1,"vocab":""}` + "\n"

func TestBadFilesNameTheLine(t *testing.T) {
	good := `{"prompt":[1],"tokens":[2],"logp":[-1],"ids":[[2,3]],"top":[[-1,-1.5,-0.8937]]}`
	_, err := recorded.Read(strings.NewReader(header+good), nil)
	require.NoError(t, err)
	for want, text := range map[string]string{
		"the file is empty":                                 "",
		`line 1: header: json: unknown field "x"`:           `{"x":1}`,
		`format "other", version 1`:                         strings.Replace(header, "stepwise-recorded", "other", 1),
		"version 2, want":                                   strings.Replace(header, `"version":1`, `"version":2`, 1),
		"Header.K is 0":                                     strings.Replace(header, `"k":2`, `"k":0`, 1),
		"line 2: unexpected EOF":                            header + good[:40],
		"line 3: invalid character":                         header + good + "\n}",
		"more after the value":                              header + good + good,
		"1 prompt tokens and 0 completion tokens":           header + `{"prompt":[1]}`,
		"1, 1 and 0 entries in logp, ids and top":           header + `{"prompt":[1],"tokens":[2],"logp":[-1],"ids":[[2,3]]}`,
		"1 ids and 3 log-probs at position 0, want 2 and 3": header + strings.Replace(good, "[2,3]", "[2]", 1),
		"ids[0] are [2 2], want different":                  header + strings.Replace(good, "[2,3]", "[2,2]", 1),
		"ids[0] are [-1 2], want different":                 header + strings.Replace(good, "[2,3]", "[-1,2]", 1),
		"logp[0] is 1, want at most 0":                      header + strings.Replace(good, `"logp":[-1]`, `"logp":[1]`, 1),
		"top[0][1] is -0.9, more than the one before it":    header + strings.Replace(good, "-1.5", "-0.9", 1),
		"the probabilities at position 0 sum to 0.59":       header + strings.Replace(good, "-0.8937", "null", 1),
		// Other writers' null for a number that they do not have is no certain token.
		"a log-prob is null, want a number": header + strings.Replace(good, `"logp":[-1]`, `"logp":[null]`, 1),
		"token ids [null,3] hold a null":    header + strings.Replace(good, "[2,3]", "[null,3]", 1),
		"token ids [null] hold a null":      header + strings.Replace(good, `"tokens":[2]`, `"tokens":[null]`, 1),
		"token ids [1, null] hold a null":   header + strings.Replace(good, `"prompt":[1]`, `"prompt":[1, null]`, 1),
		"cannot unmarshal":                  header + strings.Replace(good, "-1.5", `"x"`, 1),
	} {
		_, err := recorded.Read(strings.NewReader(text), nil)
		require.ErrorContains(t, err, want, text)
	}
	_, err = recorded.NewWriter(&bytes.Buffer{}, recorded.Header{K: 1, Temperature: math.NaN()})
	require.ErrorContains(t, err, "Temperature is NaN")
}

// A policy that imitates recorded completions with ForwardKL ends at the teacher.
func TestDistillsFromAFile(t *testing.T) {
	got, err := recorded.Read(strings.NewReader(record(t, recorded.Header{K: 4, Vocab: recorded.Digest(letters{})})), letters{})
	require.NoError(t, err)
	student := policytest.NewTablePolicy(vocab, nil, -1)
	b := batch()
	m := rl.Imitation{
		Policy: student, Batch: 2, Steps: 400, LR: rl.Constant{LR: 2},
		Demonstrations: rl.Shuffled([]rl.Demonstration{
			{Prompt: b.Prompts[0], Tokens: b.Samples[0].Tokens}, {Prompt: b.Prompts[1], Tokens: b.Samples[1].Tokens},
		}, 1),
		Objective: objective.ForwardKL{}, Teacher: &rl.Teacher{LogProber: got, K: 4},
	}
	require.NoError(t, m.Run(t.Context()))
	want, have := rl.NewTops(b, 4), rl.NewTops(b, 4)
	require.NoError(t, teacher().TopLogProbs(t.Context(), b, 4, want))
	for i := range want {
		have[i].IDs = slices.Clone(want[i].IDs)
	}
	require.NoError(t, student.CandidateLogProbs(t.Context(), b, 4, have))
	for i := range want {
		require.InDeltaSlice(t, want[i].LogP, have[i].LogP, 1e-3)
	}
}

// Whatever a file holds, Read returns, and what it accepts can be used.
func FuzzRead(f *testing.F) {
	f.Add([]byte(header + `{"prompt":[1],"tokens":[2],"logp":[-1],"ids":[[2,3]],"top":[[-1,-1.5,-0.8937]]}`))
	f.Add([]byte(header + `{"prompt":[1],"tokens":[2],"logp":[-1],"ids":[[2,3]],"top":[[-0.1,-2.4,null]]}`))
	f.Add([]byte(header))
	f.Add([]byte(header + "{}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := recorded.Read(bytes.NewReader(text), nil)
		if err != nil {
			return
		}
		b := &rl.Batch{Prompts: [][]int32{{1}}, Samples: []rl.Sample{{Tokens: []int32{2}}}, Temperature: got.Header().Temperature}
		dst := rl.NewTops(b, 1)
		if got.TopLogProbs(t.Context(), b, 1, dst) != nil {
			return
		}
		sum := math.Exp(dst[0].LogP[0]) + math.Exp(dst[0].LogP[1])
		require.InDelta(t, 1, sum, 2e-3)
	})
}
