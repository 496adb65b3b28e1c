// Package sample draws tokens from logits by [rollout.Params], for engines that
// compute logits themselves.
//
// An engine makes one [Sampler], and one [Sequence] for every completion. For
// each token it computes the model's logits and hands them to [Sampler.Next],
// until the sequence is done:
//
//	seq := sample.NewSequence(i, &reqs[i], n)
//	for !seq.Done() {
//		logits := … // of the token after the prompt and seq.Tokens()
//		if err := sampler.Next(seq, logits); err != nil { … }
//	}
//	emit(seq.Completion())
//
// An engine whose logits stay on a device draws there, with the sequence's
// [Sequence.Uniform], and hands the token to [Sampler.Accept].
//
// Each sequence has its own stream of random numbers, made of the request's Stream
// and the sample's index, and takes one number per token. So a sample depends only
// on its logits, not on what it is batched with.
//
// Examples are in example_test.go.
package sample
