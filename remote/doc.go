// Package remote says how programs on other machines are reached: which address,
// which key, how often to try again.
//
// The drivers use it:
//
//   - remote/openai samples completions from inference servers (vLLM, SGLang,
//     llama.cpp): a rollout.Engine.
//   - remote/tinker trains and samples on a server of the Tinker protocol: an
//     rl.Policy and a rollout.Engine.
//   - remote/judge asks a judge model about steps: a reward.Rule.
//   - remote/remotetest has what tests of drivers need: a server that replays
//     recordings, and a proxy that injects faults.
//
// # What the drivers promise
//
// An [Endpoint] can be written into a run's settings, because it names where the
// key is and never holds it. A key is sent only to the server that it is for, not
// to one that this server redirects to, and it appears in no error, log, metric or
// file. Certificates are verified; Endpoint.CAFile names your own authority.
//
// Text that a server sends is data. In an error it is cut to a few hundred bytes,
// without control characters. It never becomes the name of a metric or a path, and
// the size of every answer is bounded.
//
// Every call takes a context and ends within a second after it is cancelled. No
// goroutine outlives a driver's Close.
package remote
