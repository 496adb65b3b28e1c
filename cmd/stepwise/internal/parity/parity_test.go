package parity_test

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/cmd/stepwise/internal/parity"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/preset"
	"github.com/stepwise-rl/stepwise/sam"
)

// A trainer on the other end of a pipe gets its answer before it sends the
// next step.
func TestLossStreams(t *testing.T) {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- parity.Loss(inR, outW, preset.Preset{Policy: objective.DRO{}, Aggregation: objective.TokenSum{}})
	}()
	answers := bufio.NewScanner(outR)
	for range 3 {
		_, err := io.WriteString(inW, goodStep+"\n")
		require.NoError(t, err)
		require.True(t, answers.Scan())
		require.JSONEq(t, `{"id":"b","loss":0,"grad":[[-1,-1],[1]],"entropy_grad":null,"metrics":{"clip_dual":0,"clip_high":0,"clip_low":0,"old_kl":0,"ratio":1}}`, answers.Text())
	}
	require.NoError(t, inW.Close())
	require.NoError(t, <-done)
}

func TestEmptyInput(t *testing.T) {
	for _, in := range []string{"", "\n", " \n\r\n"} {
		out, err := advantages(in, nil)
		require.NoError(t, err)
		require.Empty(t, out)
		out, err = loss(in, objective.DRO{}, objective.TokenSum{})
		require.NoError(t, err)
		require.Empty(t, out)
	}
}

// What a group without completions, tokens or scores gets, in full.
func TestAdvantagesAtTheEdges(t *testing.T) {
	out, err := advantages(`{"completions":[]}
		{"id":"\u00e9","completions":[{"reward":null,"tokens":0},{"reward":null,"tokens":1,"malformed":true}]}`, nil)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 2)
	require.JSONEq(t, `{"id":"","scalar":[],"advantages":[],"keep":[],"stats":{"tokens":0,"kept":0,"denominator":0,"dead":true,
		"unscorable":0,"malformed":0,"fully_masked":0,"kl":null,"steps":{},"outside":{"kept":0,"masked":0,"mass_before":0,"mass_after":0}}}`, lines[0])
	require.JSONEq(t, `{"id":"é","scalar":[0,0],"advantages":[[],[0]],"keep":[[],[true]],"stats":{"tokens":1,"kept":1,"denominator":1,"dead":true,
		"unscorable":2,"malformed":1,"fully_masked":0,"kl":null,"steps":{},"outside":{"kept":1,"masked":0,"mass_before":0,"mass_after":0}}}`, lines[1])
}

func TestStats(t *testing.T) {
	out, err := advantages(`{"completions":[
		{"reward":1,"tokens":3,"steps":[{"name":"a","start":0,"end":2,"verdict":"incorrect"},{"name":"b","start":2,"end":3,"verdict":"correct"}]},
		{"reward":0,"tokens":2,"steps":[{"name":"a","start":0,"end":0,"verdict":"incorrect","broken":true}],"final":-1}]}`, nil)
	require.Error(t, err, "a line is a line")
	require.Empty(t, out)
	out, err = advantages(`{"completions":[`+
		`{"reward":1,"tokens":3,"steps":[{"name":"a","start":0,"end":2,"verdict":"incorrect"},{"name":"b","start":2,"end":3,"verdict":"correct"}]},`+
		`{"reward":0,"tokens":2,"steps":[{"name":"a","start":0,"end":0,"verdict":"incorrect","broken":true}],"final":-1}]}`, nil)
	require.NoError(t, err)
	require.JSONEq(t, `{"id":"","scalar":[0.5,-0.5],"advantages":[[0,0,0.5],[-0.5,-0.5]],"keep":[[false,false,true],[true,true]],
		"stats":{"tokens":5,"kept":3,"denominator":5,"dead":false,"unscorable":0,"malformed":0,"fully_masked":0,"kl":null,
		"outside":{"kept":2,"masked":0,"mass_before":1,"mass_after":1},
		"steps":{
			"a":{"kept":0,"masked":2,"mass_before":1,"mass_after":0,"broken":1,"verdict":{
				"correct":{"negative":0,"zero":0,"positive":0},"incorrect":{"negative":0,"zero":0,"positive":1},"unknown":{"negative":0,"zero":0,"positive":0},"broken":{"negative":1,"zero":0,"positive":0}}},
			"b":{"kept":1,"masked":0,"mass_before":0.5,"mass_after":0.5,"broken":0,"verdict":{
				"correct":{"negative":0,"zero":0,"positive":1},"incorrect":{"negative":0,"zero":0,"positive":0},"unknown":{"negative":0,"zero":0,"positive":0},"broken":{"negative":0,"zero":0,"positive":0}}}}}}`, out)
}

// The denominator is what the aggregation counts.
func TestDenominator(t *testing.T) {
	in := `{"completions":[{"reward":1,"tokens":3,"final":-1,"steps":[{"name":"a","start":0,"end":2,"verdict":"incorrect"}]},{"reward":0,"tokens":2}]}`
	for text, want := range map[string]string{
		`{}`:                                   `"denominator":5`,
		`{"aggregation":{"masked":"exclude"}}`: `"denominator":3`,
		`{"aggregation":{"kind":"padded_length"}}`:                  `"denominator":5`,
		`{"aggregation":{"kind":"prompt_mean","masked":"exclude"}}`: `"denominator":3`,
	} {
		p, err := parity.Decode([]byte(text), parity.Defaults())
		require.NoError(t, err)
		p.Credit = sam.Mask{}
		var out strings.Builder
		require.NoError(t, parity.Advantages(strings.NewReader(in), &out, p))
		require.Contains(t, out.String(), want, text)
	}
}

// What an objective does not read may be absent.
func TestInputsThatNobodyReads(t *testing.T) {
	for policy, fields := range map[string]string{
		`{"kind":"cross_entropy"}`: ``,
		`[{"kind":"scaled","factor":2,"objective":{"kind":"cross_entropy"}},{"kind":"entropy_bonus","coef":1}]`: `"entropy":[[1]],`,
		`{"kind":"distilled","coef":1,"objective":{"kind":"importance_sampling"}}`:                              `"old":[[-1]],"teacher":[[-2]],`,
		`{"kind":"from_rollout","objective":{"kind":"dro"}}`:                                                    `"advantages":[[1]],"rollout":[[-1]],`,
	} {
		p, err := parity.Decode([]byte(`{"policy":`+policy+`}`), parity.Defaults())
		require.NoError(t, err)
		var out strings.Builder
		require.NoError(t, parity.Loss(strings.NewReader(`{"logp":[[-1]],`+fields+`"mask":[[1.0]]}`), &out, p), policy)
		require.Contains(t, out.String(), `"loss"`)
	}
}

// Numbers come out as they went in: advantages of DRO without a tie are minus
// the gradient.
func TestNumbersRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		adv := rapid.SliceOfN(rapid.Float64Range(-1e300, 1e300), 1, 5).Draw(t, "advantages")
		row, err := json.Marshal(adv)
		require.NoError(t, err)
		zeros := "[" + strings.TrimSuffix(strings.Repeat("0,", len(adv)), ",") + "]"
		ones := strings.ReplaceAll(zeros, "0", "1")
		out, err := loss(`{"logp":[`+zeros+`],"old":[`+zeros+`],"advantages":[`+string(row)+`],"mask":[`+ones+`]}`, objective.DRO{}, objective.TokenSum{})
		require.NoError(t, err)
		var got struct{ Grad [][]float64 }
		require.NoError(t, json.Unmarshal([]byte(out), &got))
		for i := range adv {
			require.Equal(t, -adv[i], got.Grad[0][i])
		}
	})
}

// What chooses tokens needs its numbers, and says what it chose.
func TestChoices(t *testing.T) {
	line := func(fields string) string {
		return `{"id":"b","logp":[[-1,-2],[-3]],"advantages":[[1,1],[1]],"mask":[[1,1],[1]],"old":[[-1,-2],[-3]]` + fields + `}`
	}
	run := func(config, line string) (string, error) {
		p, err := parity.Decode([]byte(config), parity.Defaults())
		require.NoError(t, err)
		var out strings.Builder
		err = parity.Loss(strings.NewReader(line), &out, p)
		return out.String(), err
	}
	reject, top := `{"policy":{"kind":"dro"},"reject":[{"estimator":"abs","max":0.5}]}`, `{"policy":{"kind":"dro"},"top_entropy":0.5}`
	for _, c := range []struct{ config, line, field string }{
		{reject, line(``), "rollout"},
		{reject, strings.Replace(line(`,"rollout":[[-1,-2],[-3]]`), "old", "ref", 1), "old"},
		{top, line(``), "entropy"},
	} {
		_, err := run(c.config, c.line)
		require.EqualError(t, err, "line 1: "+c.field+": missing, but the settings read it")
	}
	out, err := run(reject, line(`,"rollout":[[-1,-3],[-3]]`))
	require.NoError(t, err)
	require.Contains(t, out, `"grad":[[-0.5,0],[-0.5]]`)
	require.Contains(t, out, `"rejected":0.3333333333333333`)
	out, err = run(top, line(`,"entropy":[[0.25,1],[0.5]],"keep":[[1,1],[0]]`))
	require.NoError(t, err)
	require.Contains(t, out, `"grad":[[0,-0.3333333333333333],[0]]`)
	require.Contains(t, out, `"entropy_threshold":0.5`)
	out, err = run(reject, line(`,"rollout":[[-2,-3],[-4]]`))
	require.NoError(t, err)
	require.Contains(t, out, `"loss":null,"grad":[[0,0],[0]]`)
}
