package tensor

// Buffer is a block of float32 values that belongs to a backend. It is
// opaque: it may live on another device, and an operation that writes it may
// finish after its call has returned.
type Buffer interface {
	// Len is the number of elements.
	Len() int
}

// Op says whether MatMul uses an operand as stored or transposed.
type Op bool

const (
	// OpN uses the operand as stored.
	OpN Op = false
	// OpT uses its transpose.
	OpT Op = true
)

// Segment is a run of consecutive rows of a packed batch that attend to each
// other: a prompt, a completion, or a whole sequence.
type Segment struct {
	// Start and End delimit its rows, [Start, End).
	Start, End int
	// Prefix is the index of another segment that all rows of this one attend
	// to as well, such as the prompt of a completion; -1 means none. A prefix
	// comes before the segments that use it and has no prefix itself.
	Prefix int
}

// Attention describes attention over a packed batch.
type Attention struct {
	// Segments are disjoint and ordered by their rows.
	Segments []Segment
	// Heads and KVHeads are the numbers of query heads and of key and value
	// heads. Heads is a multiple of KVHeads; if they differ, attention is
	// grouped-query. HeadDim is the size of a head.
	Heads, KVHeads, HeadDim int
	// Causal lets a row attend to the rows of its segment up to itself;
	// otherwise it attends to all of them. It always attends to its whole
	// prefix.
	Causal bool
	// Window, if it is not 0, lets a row attend only to rows of its segment that
	// are at most Window rows away: row i to rows j with |i − j| ≤ Window, and with
	// Causal also j ≤ i. It counts rows of the pack, not positions. No segment may
	// have a prefix then.
	Window int
	// Scale ≥ 0 multiplies q·k, usually 1/√HeadDim.
	Scale float32
}

// Range is the half-open interval [Start, End) of rows.
type Range struct{ Start, End int }

// AdamW holds the settings of one AdamW update (Loshchilov & Hutter,
// arXiv:1711.05101, as torch.optim.AdamW computes it).
type AdamW struct {
	LR, Beta1, Beta2, Eps, WeightDecay float64
	// Step is the number of this update, counted from 1; the bias correction
	// needs it.
	Step int
	// Scale multiplies the gradient first, to clip it by its global norm; 1
	// leaves it alone.
	Scale float64
}

// Backend computes on its own buffers. These are the operations that every
// backend has; the package comment lists what it may implement beyond them.
//
// Operations run in the order of the calls, possibly after the call has returned.
// An error sticks: operations after it may be skipped, Read returns it, and Sync
// returns and clears it. [ErrDeviceLost] cannot be cleared. A wrong shape, or a
// buffer of another backend, is a mistake of the caller and panics at the call.
//
// Matrices are dense and row-major. In comments, [r×c] is the shape of an
// argument, "=" means that dst is overwritten, and "+=" that the result is added
// to it. dst must not overlap an input unless the operation says so. The same
// inputs give the same bits, whatever GOMAXPROCS is.
//
// A Backend keeps no slice and no struct that it is given: the caller may reuse
// them when the call returns. The same index lists come many times in a row, since
// every layer of a pass has those of the pass; a backend that copies them to a
// device can compare and use its copy again. One goroutine uses a backend at a
// time. A backend that holds resources other than its buffers also implements
// io.Closer (see [Close]).
type Backend interface {
	// Name is the backend's registered name.
	Name() string

	// Alloc returns a zeroed buffer of n elements, which lives until Free. If
	// there is no memory for it, [ErrOutOfMemory] sticks, and operations on the
	// buffer fail with it again.
	Alloc(n int) Buffer
	// Free releases a buffer that Alloc returned, together with its slices.
	Free(b Buffer)
	// Slice returns elements [from, to) of b as a buffer that shares its
	// memory.
	Slice(b Buffer, from, to int) Buffer
	// Write copies src into dst, which is as long.
	Write(dst Buffer, src []float32)
	// Read waits for all earlier operations and copies src into dst, which is
	// as long.
	Read(dst []float32, src Buffer) error
	// Sync waits for all operations and returns the first error since the
	// last Sync, if any.
	Sync() error

	// Fill sets every element to v.
	Fill(dst Buffer, v float32)
	// Copy copies src to dst.
	Copy(dst, src Buffer)
	// Axpy computes dst += alpha·x.
	Axpy(dst Buffer, alpha float32, x Buffer)
	// SumSquares writes Σx² into dst [1], accumulated in float64.
	SumSquares(dst, x Buffer)

	// MatMul computes c = alpha·op(a)·op(b) + beta·c for op(a) [m×k], op(b)
	// [k×n] and c [m×n]. If beta is 0, c is not read.
	MatMul(opA, opB Op, m, n, k int, alpha float32, a, b Buffer, beta float32, c Buffer)
	// AddBias adds bias [cols] to every row of x [rows×cols].
	AddBias(x, bias Buffer, rows, cols int)
	// SumRows computes dst [cols] += Σ_rows x [rows×cols]. It is AddBias's
	// backward pass.
	SumRows(dst, x Buffer, rows, cols int)

	// Gather copies rows: row i of dst [len(idx)×cols] = row idx[i] of src
	// [·×cols].
	Gather(dst, src Buffer, idx []int32, cols int)
	// ScatterAdd adds rows: row idx[i] of dst [·×cols] += row i of src
	// [len(idx)×cols], in the order of i. It is Gather's backward pass.
	ScatterAdd(dst, src Buffer, idx []int32, cols int)

	// RMSNorm normalises each row of x [rows×cols]: y = x·w/rms with
	// rms = √(mean x² + eps) and w [cols]. inv [rows] receives 1/rms for the
	// backward pass.
	RMSNorm(y, inv, x, w Buffer, rows, cols int, eps float32)
	// RMSNormGrad computes dx [rows×cols] += and dw [cols] += from dy
	// [rows×cols].
	RMSNormGrad(dx, dw, dy, x, w, inv Buffer, rows, cols int)

	// RoPE rotates, in place, the heads of each row of x
	// [len(pos)×heads·headDim] by its position: elements i and i+headDim/2, as
	// in Hugging Face's Llama, by the angle pos·freq[i] in radians, with freq
	// [headDim/2]. inverse rotates back, which is the backward pass.
	RoPE(x Buffer, pos []int32, freq []float32, heads, headDim int, inverse bool)

	// Attend computes out [rows×heads·headDim] = softmax(scale·q·kᵀ)·v per head,
	// from q of that shape and k and v [rows×kvHeads·headDim]. lse [rows×heads]
	// receives the log-sum-exp of each row's scores for the backward pass. Rows
	// outside every segment are left alone. Inputs must be finite: a NaN or an
	// infinity may spoil rows of its segment that do not attend to it.
	Attend(out, lse, q, k, v Buffer, a *Attention)
	// AttendGrad computes dq +=, dk += and dv += from dout, each of the shape of
	// what it is the gradient of.
	AttendGrad(dq, dk, dv, dout, out, lse, q, k, v Buffer, a *Attention)

	// SwiGLU computes y = silu(gate)·up, elementwise.
	SwiGLU(y, gate, up Buffer)
	// SwiGLUGrad computes dgate = and dup = from dy. dgate may be gate's buffer,
	// and dup up's.
	SwiGLUGrad(dgate, dup, dy, gate, up Buffer)

	// LogProb reads logits [rows×vocab], one row for each of targets. Of the
	// distribution softmax(invTemp·row) it writes the log-prob of the row's
	// target into logp [rows] and the entropy into entropy [rows], both in
	// nats; a nil entropy is not written. A logit of -Inf is a token of probability 0,
	// which adds nothing to entropy and gradients. stats [rows×3] receives what the
	// backward pass needs of each row: its largest logit, the logarithm of
	// Σ exp(invTemp·(logit − largest)), and the entropy.
	LogProb(logp, entropy, stats, logits Buffer, targets []int32, vocab int, invTemp float32)
	// LogProbGrad overwrites logits [rows×vocab] with the gradient with respect
	// to them, given dlogp [rows] and dentropy [rows]; a nil dentropy means 0.
	LogProbGrad(logits, dlogp, dentropy, stats Buffer, targets []int32, vocab int, invTemp float32)

	// AdamW updates the parameters p and their moments m and v from the gradient
	// g, all of the same length.
	AdamW(p, g, m, v Buffer, o *AdamW)
}

// Param is a tensor of a model: its values, the gradient that the backward
// passes accumulate, and what an optimiser must know about it.
type Param struct {
	// Name is unique within a model; checkpoints use it.
	Name string
	// Shape holds the dimensions; the data are dense and row-major.
	Shape []int
	// Value and Grad hold as many elements as Shape says. Grad is nil if the
	// parameter is frozen.
	Value, Grad Buffer
	// NoDecay exempts the parameter from weight decay, as norms and biases
	// usually are.
	NoDecay bool
}

// Len returns the number of elements that Shape describes: 1 for a scalar.
func (p *Param) Len() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}
