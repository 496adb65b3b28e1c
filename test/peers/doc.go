// Package peers runs this module against the programs it is made for: llama.cpp, vLLM
// and SGLang as rollout engines, SkyRL as a training server. Simulated servers show that
// a client does what we believe a server wants; this shows that we believe the right
// things.
//
//	test/peers/install /tmp/peers llama.cpp
//	go test ./test/peers -v -dir /tmp/peers -peers llama.cpp
//
// Each peer named by -peers is started, passes the conformance suite of its kind
// (rollout/enginetest, rl/policytest), is compared with the local engine and policy on
// the same weights, trains examples/cluster, and is stopped. In the end there is a table
// of what was measured. Peers are vllm, sglang and skyrl too; they are gigabytes and take
// minutes, one at a time. Without -peers there is nothing to test.
package peers
