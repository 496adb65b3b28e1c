// Package recorded keeps a teacher's log-probs in a file, so that a policy can be
// distilled from a teacher that does not run beside it.
//
//	w, err := recorded.NewWriter(file, recorded.Header{K: 64, Vocab: recorded.Digest(tok)})
//	batch, err := rl.DemonstrationBatch(demonstrations, objective.TokenMean{})
//	err = w.Record(ctx, teacher, batch) // once for each batch of given completions; rl.Rollouts.Batch makes one, too
//
//	teacher, err := recorded.Read(file, tok)
//	m := rl.Imitation{
//		Objective: objective.ForwardKL{},
//		Teacher:   &rl.Teacher{LogProber: teacher, K: 64},
//		…
//	}
//
// If the teacher's head is padded beyond its tokens, call its BoundTokens
// (rl.TokenBounder) with the size of the vocabulary before it is recorded.
//
// A file knows the completions that were recorded and no others, so it serves for
// given completions (rl.Imitation), not for what a policy samples. The end-of-text token
// belongs to them: record demonstrations that hold it, and leave Imitation.End empty.
// The package's example goes from a teacher's samples to the policy that learnt them.
//
// # The format
//
// JSON Lines. The first line is the header:
//
//	{"format":"stepwise-recorded","version":1,"k":2,"temperature":1,"vocab":"9f86d0…"}
//
// k is the number of tokens at each position, and vocab the digest of the tokenizer
// (Digest), empty if it is not known. Every other line is a completion after a
// prompt, as token ids:
//
//	{"prompt":[5,1],"tokens":[7,2],"logp":[-0.5,-1.25],
//	 "ids":[[7,3],[2,9]],"top":[[-0.5,-1.5,-1.7],[-1.25,-1.5,-0.73]]}
//
// logp holds the log-prob of each token, in nats. ids holds the k most likely tokens
// at each position, in falling order, and top their log-probs and, as the last, the
// log of the probability of all other tokens together; null stands for -Inf. The
// probabilities of a position sum to 1 within 0.001. Log-probs have the precision of a
// float32. Lines that do not fit are errors with their number. If a prompt and
// completion are there twice, the first line counts.
package recorded
