// Package sample draws tokens from logits as [rollout.Params] say: the part
// that all in-process engines share.
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
// Random numbers come from a stream of the sequence's own, made of the
// request's Stream and the sample's index, one number per token. So a sample
// depends on its logits alone, whatever it is batched with.
package sample
