package openai

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rollout"
)

// What a server says is believed only if it can be true: as many log-probs as tokens,
// ids of the vocabulary, log-probs of tokens that can have been drawn (traps 3, 9 and
// 10 of servers), the prompt that was sent.
func TestAnswersThatAreNotBelieved(t *testing.T) {
	c := &call{model: model, prompt: []int32{1, 2}, vocab: 8, eos: []int32{endOfText}, params: rollout.Params{Temperature: 1, MaxTokens: 3}}
	vllmAnswer := func(ids, logp, finish string) string {
		return fmt.Sprintf(`{"model":"tiny","choices":[{"token_ids":%s,"prompt_token_ids":[1,2],"finish_reason":%q,"logprobs":{"token_logprobs":%s}}]}`, ids, finish, logp)
	}
	llama := func(ids, probs, more string) string {
		return fmt.Sprintf(`{"model":"tiny","tokens":%s,"tokens_evaluated":2,"stop_type":"limit","completion_probabilities":%s%s}`, ids, probs, more)
	}
	sg := func(ids, pairs, more string) string {
		return fmt.Sprintf(`{"output_ids":%s,"meta_info":{"prompt_tokens":2,"finish_reason":{"type":"length"},"output_token_logprobs":%s%s}}`, ids, pairs, more)
	}
	for _, x := range []struct {
		dialect    dialect
		body, want string
	}{
		{vllm{}, vllmAnswer(`[1,2,3]`, `[-1,-2,-3]`, "length"), ""},
		{vllm{}, vllmAnswer(`[1,7]`, `[-1,-2]`, "stop"), ""},
		{vllm{}, vllmAnswer(`[1,2,3]`, `[-1,-2]`, "length"), "2 log-probs for 3 tokens"},
		{vllm{}, vllmAnswer(`[1,2,3,4]`, `[-1,-2,-3,-4]`, "length"), "4 tokens, want 1 to 3"},
		{vllm{}, vllmAnswer(`[]`, `[]`, "length"), "0 tokens, want 1 to 3"},
		{vllm{}, vllmAnswer(`[1,2]`, `[-1,-2]`, "length"), "2 tokens of 3, and the last ends no text"},
		{vllm{}, vllmAnswer(`[1,8,3]`, `[-1,-2,-3]`, "length"), "token 1 is 8, want an id below 8"},
		{vllm{}, vllmAnswer(`[1,-2,3]`, `[-1,-2,-3]`, "length"), "token 1 is -1, want an id below 8"},
		{vllm{}, vllmAnswer(`[1,2,3]`, `[-1,-9999.0,-3]`, "length"), "the log-prob of token 1 is -9999"},
		{vllm{}, vllmAnswer(`[1,2,3]`, `[-1,-Infinity,-3]`, "length"), "the log-prob of token 1 is NaN"},
		{vllm{}, vllmAnswer(`[1,2,3]`, `[-1,null,-3]`, "length"), "the log-prob of token 1 is NaN"},
		{vllm{}, vllmAnswer(`[1,2,3]`, `[-1,0.5,-3]`, "length"), "the log-prob of token 1 is 0.5"},
		{vllm{}, strings.Replace(vllmAnswer(`[1,2,3]`, `[-1,-2,-3]`, "length"), "[1,2]", "[0,1,2]", 1), "the prompt was taken as 3 other tokens"},
		{vllm{}, strings.Replace(vllmAnswer(`[1,2,3]`, `[-1,-2,-3]`, "length"), "tiny", "other", 1), `answered by the model "other", want "tiny"`},
		{llamaCPP{}, llama(`[1,2,3]`, `[{"id":1,"logprob":-1},{"id":2,"logprob":-2},{"id":3,"logprob":-3}]`, ""), ""},
		{llamaCPP{}, llama(`[1,2,3]`, `[{"id":1,"logprob":-1},{"id":3,"logprob":-3}]`, ""), "2 log-probs for 3 tokens: llama.cpp gives one per complete character"},
		{llamaCPP{}, llama(`[1,2,3]`, `[{"id":1,"logprob":-1},{"id":3,"logprob":-2},{"id":2,"logprob":-3}]`, ""), "token 1 is 2, but its log-prob is that of 3"},
		{llamaCPP{}, llama(`[1,2,3]`, `[{"id":1,"prob":0.5},{"id":2,"prob":0},{"id":3,"prob":1}]`, ""), "the log-prob of token 1 is -Inf"},
		{llamaCPP{}, llama(`[1,2,3]`, `[]`, `,"truncated":true`), "the server cut the context"},
		{llamaCPP{}, strings.Replace(llama(`[1,2,3]`, `[]`, ""), `"tokens_evaluated":2`, `"tokens_evaluated":3`, 1), "the prompt was taken as 3 tokens, want 2"},
		{sglang{}, sg(`[1,2,3]`, `[[-1,1,null],[-2,2,null],[-3,3,null]]`, ""), ""},
		{sglang{}, sg(`[1,2,3]`, `[[-1,1,null],[-2,4,null],[-3,3,null]]`, ""), "token 1 is 2, but its log-prob is that of 4"},
		{sglang{}, sg(`[1,2,3]`, `[[-1]]`, ""), "a log-prob without its token"},
		{sglang{}, sg(`[1,2,3]`, `[]`, `,"finish_reason":{"type":"abort"}`), "the server gave the request up"},
	} {
		a, err := x.dialect.parse([]byte(x.body), c)
		if err == nil {
			err = a.check(c)
		}
		if x.want == "" {
			require.NoError(t, err, x.body)
		} else {
			require.ErrorContains(t, err, x.want, x.body)
		}
	}
}
