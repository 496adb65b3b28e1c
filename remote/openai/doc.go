// Package openai samples completions from inference servers: vLLM, SGLang and
// llama.cpp, one or many behind one engine.
//
//	engine, err := openai.New(ctx, openai.Config{
//		Servers: []openai.Server{
//			{Endpoint: remote.Endpoint{URL: "http://10.0.0.7:8000"}, Dialect: openai.DialectVLLM},
//			{Endpoint: remote.Endpoint{URL: "http://10.0.0.8:8000"}, Dialect: openai.DialectVLLM},
//		},
//		Vocab: tok, // the model's tokenizer
//		EOS:   []int32{eos},
//	})
//	trainer, err := rl.NewTrainer(rl.Config{Policy: policy, Engine: engine, …})
//
// # What is sent, and what is believed
//
// Prompts are sent as token ids, and completions are read as token ids: their text and
// Ends come from the local vocabulary. Every sampling parameter is sent with every
// request, because servers have defaults of their own. Stop strings are not sent: the
// engine cuts the completion at the token that completes one, so a server samples on
// to MaxTokens or the end of the text. An answer must have the prompt's length and, where
// they can be known, its ids, at most MaxTokens tokens of the vocabulary, and one
// finite log-prob of at most 0 for each. Whether the values are right no client can
// see in one answer: metric objective/engine_mismatch compares them with the policy's.
//
// # Log-probs
//
// rollout.Completion.LogP is at the temperature, before truncation. Servers mean
// different things by a log-prob, which [New] finds out by sampling the same token in three
// ways:
//
//	at temperature 1       vLLM, llama.cpp. Other temperatures are refused.
//	at the temperature     SGLang. TopP with TopK is refused, because SGLang takes
//	                       TopP of the whole distribution, and LogPUnit is nil at
//	                       temperatures other than 0 and 1.
//	after truncation       vLLM with --logprobs-mode processed_logprobs. TopK and TopP
//	                       are refused. llama.cpp is asked for these where that helps:
//	                       at other temperatures, without truncation.
//
// What is refused, [Engine.Check] names before a run starts. Log-probs at temperature 1
// cannot be turned into those at another. Config.UnitLogProbs accepts them as they are.
//
// [Engine.LogProbs] gives the log-probs of given completions, where all servers give
// those of prompts (vLLM and SGLang): an Engine over servers with frozen weights is a
// reference policy or a teacher. [Engine.TopLogProbs] gives the most likely tokens in
// their places, too (vLLM's prompt_logprobs, SGLang's top_logprobs_num), for
// distillation. vLLM gives 20 unless it is started with --max-logprobs, SGLang all of
// the vocabulary; [Engine.CheckTopLogProbs], which a trainer calls, asks before a run.
// vLLM with --enable-lora can end when it is asked for several prompts at once (on CPUs
// it does; vllm-project/vllm issue 16668): start a teacher without.
//
// # Many servers
//
// Each request asks for one sample and goes to the server with the least load. A
// failure (no connection, a broken one, a 5xx status, an answer that is not believed)
// is followed by a wait and another attempt at another server, under the same id and
// with the same seed; a sample's attempts follow each other, so it is never delivered
// twice. After three failures in a row a server is left alone and then tried again.
// 429 and Retry-After are waited for. A sample that still fails, or exceeds its
// deadline, is emitted with an error: it is lost, and its group is not.
// [Engine.Metrics] counts lost samples by reason.
//
// llama.cpp answers with an error if the output is not valid UTF-8, and leaves out the
// log-probs of incomplete characters. The same seed gives that again, so the sample
// is lost at once (metric engine/lost_utf8). This selects among samples: watch the
// share, and prefer another server for models that often write broken characters.
//
// # New weights
//
// [Engine.Refresh] gives every server new weights, in the form that the policy
// publishes: a Hugging Face folder (vLLM in developer mode, SGLang), LoRA adapters
// (vLLM), or a GGUF file (llama.cpp as a router). The servers read the path themselves,
// from a disk that they share with the policy. Each completion carries the version of
// the weights that sampled it. After an error the server is out: vLLM's health looks
// fine after a failed reload, and the next generation kills it. A server that is started
// anew has other weights, or none of that name, and is out once it shows. The next
// refresh takes new processes in, and servers that failed to load adapters or a GGUF file.
//
// # Embeddings
//
// An [Embedder] asks such servers for the vectors of texts.
//
// # Safety
//
// The endpoints that load weights let anybody do so who reaches them. They belong into
// a private network. What a server says is bounded in size and cleaned before it gets
// into an error, and never becomes the name of a metric or a path.
//
// Examples are in example_test.go.
package openai
