package parity_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/cmd/stepwise/internal/parity"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/preset"
	"github.com/stepwise-rl/stepwise/sam"
)

func advantages(in string, kl *objective.RewardKL) (string, error) {
	var out bytes.Buffer
	p := parity.Defaults()
	p.Estimator, p.Credit, p.RewardKL = advantage.PerGroup(advantage.DrGRPO{}), sam.Mask{}, kl
	err := parity.Advantages(strings.NewReader(in), &out, p)
	return out.String(), err
}

func loss(in string, o objective.Objective, agg objective.Aggregation) (string, error) {
	var out bytes.Buffer
	err := parity.Loss(strings.NewReader(in), &out, preset.Preset{Policy: o, Aggregation: agg})
	return out.String(), err
}

const goodGroup = `{"id":"g","completions":[{"reward":1,"tokens":2},{"reward":0,"tokens":1}]}`

// A group with one completion of six tokens and these fields.
func group(fields string) string { return `{"completions":[{"reward":1,"tokens":6,` + fields + `}]}` }

func TestGroupErrors(t *testing.T) {
	for _, c := range []struct{ line, field, want string }{
		{`x`, "", "invalid character 'x'"},
		{`[]`, "", `want an object, found "["`},
		{`{}`, "completions", "missing"},
		{`{"completions":[]} x`, "", "want nothing after the closing brace"},
		{"{\"completions\":[]}\x00", "", "want nothing after the closing brace"},
		{`{"completions":[]`, "", "the line ends too early"},
		{`{"completions":[}`, "completions", "invalid character '}'"},
		{`{"completions":[],}`, "", "invalid character '}'"},
		{`{"completions" []}`, "completions", "invalid character '[' after object key"},
		{`{"completions":[]"id":1}`, "", "invalid character '\"'"},
		{`{"nonsense":1}`, "nonsense", "unknown field, want one of version, id, completions"},
		{`{"id":"a","id":"b"}`, "id", "given twice"},
		{`{"id":7}`, "id", "want a string, found 7"},
		{`{"id":"\x"}`, "id", "invalid character 'x' in string escape"},
		{`{"id":"` + "\xff" + `"}`, "", "not UTF-8"},
		{`{"id":"` + "\t" + `"}`, "id", "in string literal"},
		{`{"id":"a`, "id", "the line ends too early"},
		{`{"version":2}`, "version", "the format's version is 2, want 1"},
		{`{"completions":[{}]}`, "completions[0].reward", "missing"},
		{`{"completions":[{"reward":1}]}`, "completions[0].tokens", "missing"},
		{`{"completions":[{"reward":1,"tokens":-1}]}`, "completions[0].tokens", "want an integer from 0"},
		{`{"completions":[{"reward":1,"tokens":1.5}]}`, "completions[0].tokens", "want an integer from 0"},
		{`{"completions":[{"reward":1,"tokens":1e9}]}`, "completions[0].tokens", "want an integer from 0 to 16777216"},
		{`{"completions":[{"reward":"good","tokens":1}]}`, "completions[0].reward", "want a number, null or an object"},
		{`{"completions":[{"reward":NaN,"tokens":1}]}`, "completions[0].reward", "invalid character 'N'"},
		{`{"completions":[{"reward":Infinity,"tokens":1}]}`, "completions[0].reward", "invalid character 'I'"},
		{`{"completions":[{"reward":-Infinity,"tokens":1}]}`, "completions[0].reward", "invalid character 'I' in numeric literal"},
		{`{"completions":[{"reward":1e999,"tokens":1}]}`, "completions[0].reward", "1e999 is beyond the range"},
		{`{"completions":[{"reward":+1,"tokens":1}]}`, "completions[0].reward", "invalid character '+'"},
		{`{"completions":[{"reward":.5,"tokens":1}]}`, "completions[0].reward", "invalid character '.'"},
		{`{"completions":[{"reward":01,"tokens":1}]}`, "completions[0]", "invalid character '1'"},
		{`{"completions":[{"reward":{},"tokens":1}]}`, "completions[0].reward", "no rewards"},
		{`{"completions":[{"reward":{"":1},"tokens":1}]}`, "completions[0].reward.", "without a name"},
		{`{"completions":[{"reward":{"a":1,"a":2},"tokens":1}]}`, "completions[0].reward.a", "given twice"},
		{`{"completions":[{"reward":{"a":"x"},"tokens":1}]}`, "completions[0].reward.a", "want a number or null"},
		{`{"completions":[{"reward":1,"tokens":1},{"reward":{"a":1},"tokens":1}]}`, "completions[1].reward", `named ["a"], but those before are named ["reward"]`},
		{group(`"malformed":2`), "completions[0].malformed", "want true, false, 1 or 0"},
		{group(`"nonsense":2`), "completions[0].nonsense", "unknown field"},
		{group(`"logp":[1]`), "completions[0].logp", "1 numbers, want one per token: 6"},
		{group(`"ref":[1,2,3,4,5,null]`), "completions[0].ref[5]", "null, want a number"},
		{group(`"logp":[1,2,3,4,5,"x"]`), "completions[0].logp[5]", "want a number or null"},
		{group(`"final":0`), "completions[0].final", "step 0 of 0 steps"},
		{group(`"final":-2`), "completions[0].final", "want an integer from -1"},
		{group(`"steps":[{}]`), "completions[0].steps[0].name", "missing"},
		{group(`"steps":[{"name":""}]`), "completions[0].steps[0].name", "empty"},
		{group(`"steps":[{"name":"a"}]`), "completions[0].steps[0].start", "missing"},
		{group(`"steps":[{"name":"a","start":0}]`), "completions[0].steps[0].end", "missing"},
		{group(`"steps":[{"name":"a","start":0,"end":1}]`), "completions[0].steps[0].verdict", "missing"},
		{group(`"steps":[{"name":"a","start":0,"end":1,"verdict":"right"}]`), "completions[0].steps[0].verdict", `"right", want correct, incorrect or unknown`},
		{group(`"steps":[{"name":"a","start":0,"end":7,"verdict":"correct"}]`), "completions[0].steps[0].end", "7, beyond the completion's 6 tokens"},
		{group(`"steps":[{"name":"a","start":4,"end":2,"verdict":"correct"}]`), "completions[0].steps[0].start", "4, after the step's end, 2"},
		{group(`"steps":[{"name":"a","start":0,"end":3,"verdict":"correct"},{"name":"b","start":2,"end":4,"verdict":"correct"}]`),
			"completions[0].steps[1].start", "2, inside step 0, whose tokens are [0, 3)"},
		{group(`"steps":[{"name":"a","start":0,"end":3,"verdict":"correct","reward":"x"}]`), "completions[0].steps[0].reward", "want a number or null"},
		{group(`"steps":[{"name":"a","start":0,"end":3,"verdict":"correct","weight":1}]`), "completions[0].steps[0].weight", "unknown field"},
	} {
		out, err := advantages(goodGroup+"\n\n"+c.line+"\n"+goodGroup, nil)
		requireLineError(t, err, 3, c.field, c.want, c.line)
		require.Empty(t, out, c.line)
	}
}

func requireLineError(t *testing.T, err error, line int, field, want, in string) {
	t.Helper()
	var le *parity.LineError
	require.ErrorAs(t, err, &le, in)
	require.Equal(t, line, le.Line, in)
	require.Equal(t, field, le.Field, in)
	require.ErrorContains(t, err, want, in)
	require.NotContains(t, err.Error(), "\n", in)
}

// TestTokensAreBounded: what a short line states must not take gigabytes, nor what
// many short lines state together.
func TestTokensAreBounded(t *testing.T) {
	half := `{"reward":1,"tokens":8388608}`
	_, err := parity.ReadGroup([]byte(`{"completions":[`+half+`,`+half+`]}`), 3, 0)
	require.NoError(t, err)
	_, err = parity.ReadGroup([]byte(`{"completions":[`+half+`,`+half+`,{"reward":0,"tokens":1}]}`), 3, 0)
	requireLineError(t, err, 3, "completions[2].tokens", "1 make 16777217 in this input, want at most 16777216: divide the batch", "")
	line := `{"completions":[` + half + "]}\n"
	out, err := advantages(line+line+line, nil)
	requireLineError(t, err, 3, "completions[0].tokens", "want at most 16777216", "")
	require.Empty(t, out)
}

func TestBatchErrors(t *testing.T) {
	k1 := &objective.RewardKL{Estimator: objective.K1, Beta: 1}
	center := &objective.RewardKL{Estimator: objective.K1, Beta: 1, Center: true}
	for _, c := range []struct {
		line, field, want string
		kl                *objective.RewardKL
	}{
		{`{"completions":[{"reward":{"a":1},"tokens":1}]}`, "completions", `named ["a"]`, nil},
		{goodGroup, "completions[0].logp", "missing, but a KL penalty", k1},
		{group(`"logp":[1,2,3,4,5,6]`), "completions[0].ref", "missing, but a KL penalty", k1},
		{`{"completions":[{"reward":1.5e308,"tokens":1},{"reward":1.6e308,"tokens":1}]}`, "completions[0].reward", "1.5e+308, want a number from -1e+100 to 1e+100", nil},
		{`{"completions":[{"reward":{"a":-1.7e308},"tokens":1}]}`, "completions[0].reward.a", "-1.7e+308, want", nil},
		{group(`"steps":[{"name":"a","start":0,"end":1,"verdict":"correct","reward":1e101}]`), "completions[0].steps[0].reward", "1e+101, want", nil},
		{`{"completions":[{"reward":1,"tokens":1,"logp":[1e308],"ref":[-1e308]}]}`, "completions", "want finite numbers", center},
	} {
		first := strings.NewReplacer(`"tokens":2`, `"tokens":2,"logp":[1,2],"ref":[1,2]`, `"tokens":1`, `"tokens":1,"logp":[1],"ref":[2]`).Replace(goodGroup)
		out, err := advantages(first+"\n"+c.line, c.kl)
		requireLineError(t, err, 2, c.field, c.want, c.line)
		require.Empty(t, out)
	}
}

const goodStep = `{"id":"b","logp":[[-1,-2],[-3]],"old":[[-1,-2],[-3]],"advantages":[[1,1],[-1]],"mask":[[true,true],[1]]}`

// change replaces a part of the good step.
func change(old, new string) string {
	if !strings.Contains(goodStep, old) {
		panic(old)
	}
	return strings.Replace(goodStep, old, new, 1)
}

func TestStepErrors(t *testing.T) {
	ppo := objective.PPO{ClipLow: .2, ClipHigh: .2}
	for _, c := range []struct {
		line, field, want string
		o                 objective.Objective
		agg               objective.Aggregation
	}{
		{line: `{}`, field: "logp", want: "missing"},
		{line: `{"logp":[[1]]}`, field: "mask", want: "missing"},
		{line: change(`"old"`, `"olt"`), field: "olt", want: "unknown field, want one of version, id, logp, old"},
		{line: change(`"old":[[-1,-2],[-3]],`, ``), field: "old", want: "missing, but the settings read it"},
		{line: change(`"advantages":[[1,1],[-1]],`, ``), field: "advantages", want: "missing, but the settings read it"},
		{line: goodStep, field: "ref", want: "missing", o: objective.Terms{ppo, objective.KL{Estimator: objective.K3}}},
		{line: goodStep, field: "entropy", want: "missing", o: objective.Terms{ppo, objective.EntropyBonus{Coef: 1}}},
		{line: goodStep, field: "rollout", want: "missing", o: objective.Corrected{Objective: ppo, Max: 2}},
		{line: goodStep, field: "prompt", want: "missing", agg: objective.PromptMean{}},
		{line: goodStep, field: "prompt", want: "missing", agg: objective.Split{Loss: objective.TokenMean{}, Regularizer: objective.PromptMean{}}},
		{line: change(`"old":[[-1,-2],[-3]]`, `"old":[[-1,-2]]`), field: "old", want: "1 rows, want as many as logp has: 2"},
		{line: change(`"old":[[-1,-2],[-3]]`, `"old":[[-1],[-3]]`), field: "old[0]", want: "1 entries, want as many as logp[0] has: 2"},
		{line: change(`"mask":[[true,true]`, `"mask":[[true]`), field: "mask[0]", want: "1 entries"},
		{line: change(`"id"`, `"keep":[[1,1]],"id"`), field: "keep", want: "1 rows"},
		{line: change(`"id"`, `"prompt":[0],"id"`), field: "prompt", want: "1 prompts, want one per sequence of logp: 2"},
		{line: change(`"id"`, `"prompt":[0,-1],"id"`), field: "prompt[1]", want: "want an integer from 0"},
		{line: change(`[[-1,-2],[-3]],"old"`, `[[-1,null],[-3]],"old"`), field: "logp[0][1]", want: "null at a token whose mask is true"},
		{line: change(`[[-1,-2],[-3]],"old"`, `[[-1,NaN],[-3]],"old"`), field: "logp[0][1]", want: "invalid character 'N'"},
		{line: change(`[[-1,-2],[-3]],"old"`, `[[-1,[-2]],[-3]],"old"`), field: "logp[0][1]", want: "want a number or null"},
		{line: change(`[[-1,-2],[-3]],"old"`, `[-1,-2],"old"`), field: "logp[0]", want: "want an array of numbers"},
		{line: change(`true,true`, `true,"x"`), field: "mask[0][1]", want: "want true, false, 1 or 0"},
		{line: change(`"id"`, `"version":3,"id"`), field: "version", want: "version is 3, want 1"},
		{line: change(`[[-1,-2],[-3]],"old"`, `[[900,-2],[-3]],"old"`), field: "logp[0]", want: "ratio at position 0 overflows"},
		{line: change(`[[1,1],[-1]]`, `[[1,2],[-1]]`), field: "logp[0]", want: "use GSPOToken", o: objective.GSPO{ClipLow: .2, ClipHigh: .2}},
		{line: change(`[[1,1],[-1]]`, `[[1e308,1e308],[-1]]`), field: "logp[0]", want: "the loss is -Inf", agg: objective.TokenSum{}},
	} {
		if c.o == nil {
			c.o = ppo
		}
		if c.agg == nil {
			c.agg = objective.TokenMean{}
		}
		first := `{"id":"first","logp":[[-1]],"old":[[-1]],"ref":[[-1]],"rollout":[[-1]],"entropy":[[1]],"advantages":[[1]],"mask":[[1]],"prompt":[0]}`
		out, err := loss(first+"\n"+c.line+"\n"+first, c.o, c.agg)
		requireLineError(t, err, 2, c.field, c.want, c.line)
		require.Equal(t, 1, strings.Count(out, "\n"), "the line before is answered")
		require.Contains(t, out, `"id":"first"`)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the pipe broke") }

func TestReadErrors(t *testing.T) {
	err := parity.Loss(brokenReader{}, new(bytes.Buffer), parity.Defaults())
	require.EqualError(t, err, "the pipe broke")
	err = parity.Advantages(brokenReader{}, new(bytes.Buffer), parity.Defaults())
	require.EqualError(t, err, "the pipe broke")
}
