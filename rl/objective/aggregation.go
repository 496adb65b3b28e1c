package objective

// Layout is what an aggregation must know of one optimiser step: the masks of
// all its sequences, so that splitting the step into micro-batches cannot
// change the loss.
type Layout struct {
	// Live marks the tokens that are trained on at all, per sequence.
	Live [][]bool
	// Keep marks the tokens that step credit did not mask; a nil slice, or a
	// nil entry, means all.
	Keep [][]bool
	// Prompt is the index of each sequence's prompt (its group).
	Prompt []int
}

// Masked says what becomes of a live token that step credit masked.
type Masked uint8

const (
	// Stay: a masked token counts in the denominator and in KL and entropy
	// terms, as in trainers that only zero its advantage (default).
	Stay Masked = iota
	// Leave: it leaves the denominator and every term.
	Leave
	// LeaveLoss: it leaves the loss and its denominator, but stays in KL and
	// entropy terms and theirs.
	LeaveLoss
)

// Aggregation turns masks into the weight of each token's loss.
type Aggregation interface {
	// Weigh writes d(loss)/d(token loss) for every token of the step into
	// loss and, for regularising terms, kl; both have the shape of l.Live.
	// A step without any live token is an error.
	Weigh(l Layout, loss, kl [][]float64) error
}
