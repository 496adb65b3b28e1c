package tensor

// Buffer is a block of float32 values that belongs to a backend. It is
// opaque: it may live on another device, or be written later than the call
// that writes it returns.
type Buffer interface {
	// Len is the number of elements.
	Len() int
}

// Op says whether an operand of MatMul is used as stored or transposed.
type Op bool

const (
	// OpN: as stored.
	OpN Op = false
	// OpT: transposed.
	OpT Op = true
)

// Segment is a run of consecutive rows of a packed batch that attend to each
// other: a prompt, a completion, or a whole sequence.
type Segment struct {
	// Start and End delimit its rows, end exclusive.
	Start, End int
	// Prefix is the index of the segment whose rows all of its rows attend
	// to as well (a completion's prompt); -1 = none. A prefix comes before
	// the segments that use it and has no prefix of its own.
	Prefix int
}

// Attention describes attention over a packed batch.
type Attention struct {
	// Segments are disjoint and in order of their rows.
	Segments []Segment
	// Heads and KVHeads: grouped-query attention, Heads a multiple of
	// KVHeads. HeadDim is the size of each.
	Heads, KVHeads, HeadDim int
	// Causal: a row sees the rows of its own segment up to itself; else all
	// of them. It always sees its whole prefix.
	Causal bool
	// Scale ≥ 0 multiplies q·k, usually 1/√HeadDim.
	Scale float32
}

// CacheShape is the shape of a pair of caches, one of keys and one of values.
type CacheShape struct {
	// Rows is how many tokens' keys and values they hold.
	Rows int
	// KVHeads and HeadDim are as in Attention.
	KVHeads, HeadDim int
}

// Decode describes one step of attention with a KV cache: row i of q attends
// to cache rows listed by its ranges.
type Decode struct {
	Cache CacheShape
	// Ranges[i] lists the ranges of cache rows that query row i attends to,
	// in order (its prompt's, then its own): at least one row in all.
	Ranges [][]Range
	// Heads and Scale are as in Attention.
	Heads int
	Scale float32
}

// Range is a range of rows, end exclusive.
type Range struct{ Start, End int }

// AdamW holds the settings of one AdamW update (Loshchilov & Hutter,
// arXiv:1711.05101, as torch.optim.AdamW computes it).
type AdamW struct {
	LR, Beta1, Beta2, Eps, WeightDecay float64
	// Step counts from 1, for the bias correction.
	Step int
	// Scale multiplies the gradient first (clipping by global norm).
	Scale float64
}

// Backend computes on buffers of its own. Its operations may run
// asynchronously, in the order of the calls. An error in one sticks: the
// operations after it may not run, Read returns it, and Sync returns and
// clears it. Wrong shapes, and buffers of another backend, are the caller's
// mistakes and panic at the call.
//
// Matrices are row-major and dense. [r×c] in a comment is the shape of an
// argument. Results are bit-identical for the same inputs, whatever
// GOMAXPROCS is. "+=" in a comment means that the result is added to dst.
// Unless said otherwise dst must not overlap an input.
//
// A Backend retains no slice and no struct that it is given: the caller may
// reuse them when the call returns. It is used by one goroutine at a time. A
// backend that holds resources beyond its buffers also implements io.Closer.
type Backend interface {
	// Name is the backend's registered name.
	Name() string

	// Alloc returns a zeroed buffer of n elements; it lives until Free.
	Alloc(n int) Buffer
	// Free releases a buffer of Alloc, and with it all its slices.
	Free(b Buffer)
	// Slice returns elements [from, to) of b as a buffer that shares memory.
	Slice(b Buffer, from, to int) Buffer
	// Write copies src into dst (equal lengths). src may be reused at once.
	Write(dst Buffer, src []float32)
	// Read waits for all operations before it and copies src into dst (equal
	// lengths).
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

	// MatMul computes c = alpha·op(a)·op(b) + beta·c with op(a) [m×k],
	// op(b) [k×n], c [m×n]. With beta 0, c is not read.
	MatMul(opA, opB Op, m, n, k int, alpha float32, a, b Buffer, beta float32, c Buffer)
	// AddBias adds bias [cols] to every row of x [rows×cols].
	AddBias(x, bias Buffer, rows, cols int)
	// SumRows computes dst[cols] += Σ_rows x [rows×cols]: AddBias backward.
	SumRows(dst, x Buffer, rows, cols int)

	// Gather copies rows: dst [len(idx)×cols] = src[idx[i]].
	Gather(dst, src Buffer, idx []int32, cols int)
	// ScatterAdd adds rows: dst[idx[i]] += src [len(idx)×cols], in order of i.
	ScatterAdd(dst, src Buffer, idx []int32, cols int)

	// RMSNorm normalises each row: y = x·w/rms(x), rms = √(mean x² + eps),
	// w [cols]. inv [rows] receives 1/rms for the backward pass.
	RMSNorm(y, inv, x, w Buffer, rows, cols int, eps float32)
	// RMSNormGrad computes dx += and dw += from dy.
	RMSNormGrad(dx, dw, dy, x, w, inv Buffer, rows, cols int)

	// LayerNorm normalises each row: y = (x − mean)·inv·w + bias, with
	// inv = 1/√(variance + eps), the variance that of the row as a whole
	// population, and w and bias [cols]. mean and inv [rows] receive what the
	// backward pass needs.
	LayerNorm(y, mean, inv, x, w, bias Buffer, rows, cols int, eps float32)
	// LayerNormGrad computes dx +=, dw += and dbias += from dy.
	LayerNormGrad(dx, dw, dbias, dy, x, w, mean, inv Buffer, rows, cols int)

	// RoPE rotates, in place, the heads of each row of x
	// [len(pos)×heads·headDim] by its position: pairs (i, i+headDim/2) as in
	// Hugging Face Llama, angle pos·freq[i] with freq [headDim/2]. inverse
	// rotates back: the backward pass.
	RoPE(x Buffer, pos []int32, freq []float32, heads, headDim int, inverse bool)

	// Attend computes out [rows×heads·headDim] from q [rows×heads·headDim]
	// and k, v [rows×kvHeads·headDim]. lse [rows×heads] receives the
	// log-sum-exp of each row's scores for the backward pass. Rows outside
	// every segment are left alone. Inputs are finite: one that is not may
	// spoil rows of its segment that do not attend to it.
	Attend(out, lse, q, k, v Buffer, a *Attention)
	// AttendGrad computes dq +=, dk +=, dv += from dout.
	AttendGrad(dq, dk, dv, dout, out, lse, q, k, v Buffer, a *Attention)
	// CacheLen is the number of elements of a cache of shape s. How they are
	// laid out is the backend's affair: StoreCache writes them, AttendCache
	// reads them.
	CacheLen(s CacheShape) int
	// StoreCache stores keys and values, k and v [len(slots)×kvHeads·headDim],
	// in rows slots of the caches of shape s; slots has no repeats.
	StoreCache(kCache, vCache, k, v Buffer, slots []int32, s CacheShape)
	// AttendCache computes out [len(d.Spans)×heads·headDim] for q of the
	// same shape against the caches.
	AttendCache(out, q, kCache, vCache Buffer, d *Decode)

	// SwiGLU computes y = silu(gate)·up, elementwise.
	SwiGLU(y, gate, up Buffer)
	// SwiGLUGrad computes dgate = and dup = from dy (overwriting; dgate may
	// be gate's buffer and dup up's).
	SwiGLUGrad(dgate, dup, dy, gate, up Buffer)

	// GELU computes y = x·Φ(x), elementwise, with Φ the distribution function
	// of the standard normal distribution (not its tanh approximation).
	GELU(y, x Buffer)
	// GELUGrad computes dx = from dy (overwriting; dx may be x's buffer).
	GELUGrad(dx, dy, x Buffer)

	// LogProb reads logits [rows×vocab], multiplies them by invTemp, and
	// writes the log-prob of targets[i] into logp [rows] and the entropy of
	// the row's distribution into entropy [rows] (nil = not wanted). stats
	// [rows×3] receives what the backward pass needs of each row: its largest
	// logit, the logarithm of Σ exp(invTemp·(x − largest)), and the entropy.
	LogProb(logp, entropy, stats, logits Buffer, targets []int32, vocab int, invTemp float32)
	// LogProbGrad overwrites logits [rows×vocab] with the gradient with
	// respect to them, given dlogp [rows] and dentropy [rows] (nil = none).
	LogProbGrad(logits, dlogp, dentropy, stats Buffer, targets []int32, vocab int, invTemp float32)

	// AdamW updates p from gradient g and moments m, v, all the same length.
	AdamW(p, g, m, v Buffer, o *AdamW)
}

// Format is how a packed matrix stores its elements.
type Format int

const (
	// FormatFloat32: as they are.
	FormatFloat32 Format = iota
	// FormatBFloat16: rounded to the nearest bfloat16, ties to even, which has the
	// range of a float32 and 8 bits of precision. It takes half of the memory,
	// and reading it half of the time, which bounds products with few rows.
	FormatBFloat16
)

// Packer is implemented by backends that multiply faster by matrices that
// were laid out for it before. That pays where weights are used many times
// unchanged by few rows, as in decoding; it takes as much memory again, or half
// of it. A Backend that wraps another one has to forward its methods, or does
// without them.
type Packer interface {
	// PackedLen is the number of a buffer's elements that op(b) [k×n] takes
	// packed.
	PackedLen(f Format, n, k int) int
	// Pack writes op(b) [k×n], packed, into p [PackedLen(f, n, k)]. Packed
	// matrices are for MatMulPacked, with the same format, only.
	Pack(f Format, p Buffer, opB Op, n, k int, b Buffer)
	// MatMulPacked is, for every product, Backend.MatMul(N, opB, m, N, k,
	// alpha, a, b, beta, C), to the last bit, for P = op(b) [k×N] packed: of b
	// rounded to the format. a is not rounded, and sums are in float32, whatever
	// the format. Several products of one a take less time than one by one.
	MatMulPacked(f Format, m, k int, alpha float32, a Buffer, beta float32, products ...Product)
}

// Product is the right side and the result of a product by a packed matrix.
type Product struct {
	N    int
	P, C Buffer
}

// Param is a trainable tensor of a model: its values, the gradient that the
// backward passes accumulate, and what an optimiser must know about it.
type Param struct {
	// Name is unique within a model; it is the tensor's name in checkpoints.
	Name string
	// Shape holds the dimensions; the data is dense and row-major.
	Shape []int
	// Value and Grad have as many elements as Shape says. Grad is nil for a
	// frozen parameter.
	Value, Grad Buffer
	// NoDecay exempts the parameter from weight decay (norms, biases).
	NoDecay bool
}

// Len returns the number of elements that Shape describes.
func (p *Param) Len() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}
