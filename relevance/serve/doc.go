// Package serve answers relevance queries over HTTP with a [relevance.Scorer].
//
// A [Server] is an http.Handler. It scores query and documents (POST /v1/score) and
// speaks the rerank shape that Cohere, Jina and vLLM share (POST /rerank, /v1/rerank,
// /v2/rerank), so that search stacks call it unchanged:
//
//	m, err := serve.Open(ctx, "runs/first/student", task.Source, "cpu")
//	s, err := serve.New(serve.Config{}, m)
//	err = s.Serve(ctx, listener) // until ctx ends; what was accepted is finished
//
// Documents of all connections are scored in common batches by one goroutine, because a
// scorer is used by one at a time and a backend has all cores. What waits is bounded: a
// request that would wait too long is refused with 429 and Retry-After, a request whose
// client has gone or whose time is up leaves the queue. [Server.Swap] changes the model
// between batches; no request is lost, and each is answered by one model. A Scorer of
// your own is called once for each request, with all its documents, unless it is a
// [relevance.PairScorer].
//
// docs/serving.md describes endpoints, limits, metrics and deployment; openapi.json, which
// the server hands out, is the exact form of requests and answers.
package serve
