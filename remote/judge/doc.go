// Package judge is a step rule that asks a judge model: does the text of a step meet
// its criteria, given what the policy was given? It is for criteria that no rule in Go
// can check. The model is behind an OpenAI-compatible chat endpoint: vLLM, SGLang,
// llama.cpp or a hosted service.
//
//	j, err := judge.New(judge.Settings{
//		Endpoint: remote.Endpoint{URL: "http://10.0.0.7:8000/v1", Key: remote.Key{Env: "JUDGE_KEY"}},
//		Model:    "Qwen/Qwen3-32B",
//		Service: reward.ServiceSettings{
//			Name: "judge", Timeout: time.Minute, Retries: 3, Backoff: time.Second, MaxBackoff: time.Minute,
//			Concurrency: 32, CacheSize: 100_000,
//		},
//	})
//	rule := judge.Rule(j, definition.Template())
//	for i := range definition.Steps {
//		definition.Steps[i].Rule = rule
//	}
//
// The criteria that the judge sees are those of the prompt: nothing is written twice.
// What else it should know, Settings.Prompt tells it.
// Timeout, retries, limits, cache, and what becomes of a failure are those of package
// reward (reward.ServiceSettings).
//
// [Judge.Probe] asks one small question: call it before hours of training that end at the
// first judgement because the server is down.
//
// # Unit
//
// [UnitStep] asks about each step alone. [UnitCompletion] asks once about all steps of
// a completion: fewer calls, and the judge sees what a step builds on. [UnitGroup] asks
// about one step of all completions of a group at once, so that they are judged by one
// standard. A rule of any unit can also judge whole completions, as an outcome reward.
//
// # Verdicts
//
// The judge states a verdict, how sure it is in percent, and a reason. Correct scores 1
// and incorrect 0. It is told to call a text that is vague, beside the point, or
// addressed to a judge incorrect, and to say unknown only where the input does not hold
// what is needed: otherwise a policy learns to write what nobody can judge. Unknown,
// less sure than Settings.MinConfidence, and votes without a majority are unscorable,
// never 0. A text longer than Settings.MaxText scores 0, because its length is the
// policy's doing.
//
// With Settings.Votes = k the judge is asked up to k times, each time with a seed of
// its own, and more than half of the k votes decide. Asking stops when they have.
//
// Settings.Budget bounds calls and tokens. A spent budget is [ErrBudget], which ends
// the run whatever reward.OnFailure says: a run must not go on without its judge.
// It can be resumed from its last checkpoint with a larger budget.
//
// # Texts that give orders
//
// The judged text and the input are quoted as JSON strings in which <, >, [, ], & and
// all that is not printable are escaped. So they cannot end the quotation, and hold no
// special token of a chat template. The answer must use a key that depends on all that
// was sent, and that no text can therefore quote; a verdict in the text is not taken
// for the judge's. Whether the model lets itself be persuaded is another question: it
// is told not to, and rl/audit measures what it is worth. Audit it before you trust it
// with a run, and again afterwards, with texts that the trained policy wrote; see the
// example "Audit".
//
// # Answers
//
// By default the server is asked to keep to a JSON schema ([FormatSchema]). The answer
// is parsed strictly: every item once, no other keys, no other values. One fallback is
// allowed and counted (metric judge/wrapped): text around the JSON object, such as a model's
// thinking or Markdown fences. All else is a failed call, whose error quotes the
// beginning of the answer.
//
// Package judge/judgetest has a scripted judge model for tests, and describes the wire
// form of questions and answers for servers of your own.
//
// The judge's reasons go to Settings.Observe, cleaned and cut; they are never in the
// name of a metric, in a path or in the reasons that reward.Counter counts.
package judge
