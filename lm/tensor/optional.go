package tensor

import (
	"fmt"
	"slices"
)

// LayerNormer is implemented by backends with a layer normalisation of their own.
// Call [LayerNorm] and [LayerNormGrad], which need none.
type LayerNormer interface {
	// LayerNorm normalises each row of x [rows×cols]: y = (x − mean)·inv·w + bias
	// with inv = 1/√(variance + eps), the variance divided by cols, and w and
	// bias [cols]. mean and inv [rows] receive those of each row for the
	// backward pass.
	LayerNorm(y, mean, inv, x, w, bias Buffer, rows, cols int, eps float32)
	// LayerNormGrad computes dx [rows×cols] +=, dw [cols] += and dbias [cols]
	// += from dy [rows×cols].
	LayerNormGrad(dx, dw, dbias, dy, x, w, mean, inv Buffer, rows, cols int)
}

// GELUer is implemented by backends with a GELU of their own. Call [GELU] and
// [GELUGrad], which need none.
type GELUer interface {
	// GELU computes y = x·Φ(x), elementwise, with Φ the standard normal
	// distribution function itself, not its tanh approximation.
	GELU(y, x Buffer)
	// GELUGrad computes dx = from dy. dx may be x's buffer.
	GELUGrad(dx, dy, x Buffer)
}

// Tanher is implemented by backends with a tanh of their own, for the heads of BERT's
// classifiers. Call [Tanh] and [TanhGrad], which need none.
type Tanher interface {
	// Tanh computes y = tanh(x), elementwise. y may be x's buffer.
	Tanh(y, x Buffer)
	// TanhGrad computes dx = dy·(1 − y²) from Tanh's y. dx may be dy's buffer.
	TanhGrad(dx, dy, y Buffer)
}

// GeGLUer is implemented by backends with a GeGLU of their own, the activation of
// ModernBERT's feed-forward layers. Call [GeGLU] and [GeGLUGrad], which need none.
type GeGLUer interface {
	// GeGLU computes y = gelu(gate)·up, elementwise, with the gelu of GELUer
	// (Shazeer, arXiv:2002.05202).
	GeGLU(y, gate, up Buffer)
	// GeGLUGrad computes dgate = dy·up·gelu′(gate) and dup = dy·gelu(gate). dgate may
	// be gate's buffer, and dup up's.
	GeGLUGrad(dgate, dup, dy, gate, up Buffer)
}

// CacheShape is the shape of a pair of caches, one of keys and one of values.
type CacheShape struct {
	// Rows is the number of tokens whose keys and values they hold.
	Rows int
	// KVHeads and HeadDim are as in Attention.
	KVHeads, HeadDim int
}

// Decode describes attention of new tokens to a KV cache: row i of q attends to
// the cache rows in Ranges[i].
type Decode struct {
	Cache CacheShape
	// Ranges[i] lists the cache rows that query row i attends to, for
	// instance its prompt's and then its completion's. They hold at least one
	// row in all.
	Ranges [][]Range
	// Heads and Scale are as in Attention.
	Heads int
	Scale float32
}

// Cacher is implemented by backends that decode with a KV cache. Call [CacheLen],
// [StoreCache] and [AttendCache], which need none.
type Cacher interface {
	// CacheLen is the number of elements of a cache of shape s. Their layout is
	// up to the backend: StoreCache writes it and AttendCache reads it.
	CacheLen(s CacheShape) int
	// StoreCache stores row i of the keys k and of the values v, both
	// [len(slots)×kvHeads·headDim], in row slots[i] of the caches, which are of
	// shape s. slots has no repeats.
	StoreCache(kCache, vCache, k, v Buffer, slots []int32, s CacheShape)
	// AttendCache computes attention of q [len(d.Ranges)×heads·headDim] to the
	// caches, and writes it to out, of the same shape.
	AttendCache(out, q, kCache, vCache Buffer, d *Decode)
}

// Draws says how tokens are drawn from rows of logits. Every slice has one entry
// for each token to draw.
type Draws struct {
	// Rows[i] is the row of logits that token i is drawn from. Rows ascend;
	// several tokens may be drawn from the same one.
	Rows []int32
	// Temperature, finite and ≥ 0, divides the logits; 0 takes the most likely token, and the
	// lowest id of several.
	Temperature []float32
	// TopK keeps that many of the most likely tokens, and the lower ids of
	// equally likely ones; 0 keeps all.
	TopK []int32
	// TopP then keeps the fewest most likely tokens that together have this
	// share of the probability that TopK has left; 0 or 1 keeps all.
	TopP []float32
	// Uniform are random numbers in [0, 1). In the order of their ids, the first
	// of the kept tokens at which the sum of their probabilities, as a share of
	// that of all kept ones, exceeds Uniform[i] is drawn.
	Uniform []float32
}

// Sampler is implemented by backends that draw tokens, so that decoding reads a
// few bytes of each row and not a row of logits. Without it, read the logits and
// draw on the host, as lm/local does. The functions of this package do not replace it.
type Sampler interface {
	// Sample draws a token from a row of logits [·×vocab] for each of d. It
	// writes into drawn [len(d.Rows)×3] the token's id, its log-prob at its
	// temperature and its log-prob at temperature 1, in nats; both are of the
	// whole distribution, before TopK and TopP, and at temperature 0 the first
	// is the second. A row with a NaN or +Inf, or with nothing above -Inf, has
	// no distribution: its tokens have id -1.
	Sample(drawn, logits Buffer, vocab int, d *Draws)
}

// TopKer is implemented by backends that find the largest elements of rows, so that
// the most likely tokens are read and not rows of logits. Call [TopK], which needs none.
type TopKer interface {
	// TopK writes into ids [rows×k] the indices of the k largest of the first among
	// elements of each row of x [rows×cols], in falling order, and of equal ones the
	// lower index first. NaNs are left out; where fewer than k others are there, the
	// last ids are -1. k is 1 to among, among at most cols, and cols at most 2²⁴, up to
	// which a float32 holds every index.
	TopK(ids, x Buffer, rows, cols, among, k int)
}

// Linearer is implemented by backends whose products add a bias and another matrix
// before they write a result, which saves a pass over it for each. Call [Linear],
// which needs none.
type Linearer interface {
	// Linear computes y [rows×out] = x·wᵀ + bias + add for x [rows×in], w [out×in],
	// bias [out], which is added to every row, and add of y's shape. bias and add may
	// be nil, and add may be y, the same Buffer.
	Linear(y, x, w, bias, add Buffer, rows, out, in int)
}

// AdamWTensor is one of the tensors that UpdateAll updates: parameters, gradient
// and moments, all of the same length.
type AdamWTensor struct {
	P, G, M, V Buffer
	// NoDecay exempts the tensor from weight decay.
	NoDecay bool
}

// Updater is implemented by backends that take an optimiser step over all tensors
// of a model in a few operations, with no need for the host in between. Without
// it, optim.AdamW calls SumSquares and AdamW for each tensor.
type Updater interface {
	// Norm writes √Σx² over all elements of all xs into norm [1]. The sum is
	// accumulated in float64.
	Norm(norm Buffer, xs []Buffer)
	// UpdateAll does for every tensor what Backend.AdamW does with o, whose Scale
	// is first multiplied by min(1, maxNorm/(norm + 10⁻⁶)) for norm [1]; maxNorm
	// 0 leaves it alone. If norm is not finite, UpdateAll changes nothing.
	UpdateAll(tensors []AdamWTensor, o *AdamW, norm Buffer, maxNorm float64)
}

// Format is how a packed matrix stores its elements.
type Format int

const (
	// FormatFloat32 stores them as they are.
	FormatFloat32 Format = iota
	// FormatBFloat16 stores them rounded to the nearest bfloat16, ties to even.
	// It has the range of a float32 and 8 bits of precision. It takes half the
	// memory and half the time to read, which is what bounds products with few
	// rows.
	FormatBFloat16
)

// Packer is implemented by backends that multiply faster by a matrix that was
// laid out for it beforehand. That pays where few rows are multiplied by the
// same weights many times, as in decoding. A packed copy takes as much memory as
// the matrix, or half of it in FormatBFloat16. A Backend that wraps another one
// forwards these methods, or its users do without them.
type Packer interface {
	// PackedLen is the number of buffer elements that op(b) [k×n] takes when it
	// is packed.
	PackedLen(f Format, n, k int) int
	// Pack writes op(b) [k×n], packed, into p [PackedLen(f, n, k)]. Only
	// MatMulPacked can read it, with the same format.
	Pack(f Format, p Buffer, opB Op, n, k int, b Buffer)
	// MatMulPacked computes C [m×N] = alpha·a·P + beta·C for every product, with
	// a [m×k] and P a packed matrix [k×N]. The bits are those of MatMul with the
	// matrix that was packed, rounded to the format: a is rounded only if MatMul rounds
	// it, and sums are in float32 in every format. Several products with the same a take less
	// time together than one by one.
	MatMulPacked(f Format, m, k int, alpha float32, a Buffer, beta float32, products ...Product)
}

// Product is the right side and the result of a product by a packed matrix: P
// holds a packed matrix [k×N], C is [m×N].
type Product struct {
	N    int
	P, C Buffer
}

// Allocator16 is implemented by backends whose buffers can have elements of 16
// bits. Call [Alloc16], which needs none.
type Allocator16 interface {
	// Alloc16 is Alloc of a buffer whose elements are bfloat16. What an operation
	// writes into it is rounded to the nearest, ties to even; Read and all
	// operations see the rounded values. Operations take such buffers, mixed
	// with others, for activations and their gradients (what is [rows×·] in the
	// comments of an operation, except logits and what is one to three values
	// per row) and for KV caches. They panic if others are of 16 bits:
	// parameters and their gradients and moments. Package model uses them where
	// the precision is PrecisionBFloat16.
	Alloc16(n int) Buffer
}

// WeightKeeper is implemented by backends that keep a second copy of weights, for
// instance in the precision of their products. Call [KeepWeight], which needs none.
type WeightKeeper interface {
	// KeepWeight says that many products will read b, a buffer of Alloc, between
	// two operations that write it. It changes no result: a product sees all that
	// was written before it, by whatever operation.
	KeepWeight(b Buffer)
}

// HeadSizer is implemented by backends for which the usual size of a chunk of
// logits, made for a CPU's caches, is too small. Call [HeadSize].
type HeadSizer interface {
	// HeadSize is how many logits a model computes in one piece, and how many it
	// may keep in memory from a forward to a backward pass.
	HeadSize() (chunk, kept int)
}

// ErrReporter is implemented by backends whose operations fail after their call
// has returned. Call [Err].
type ErrReporter interface {
	// Err returns the sticky error as far as it is known, without waiting and
	// without clearing it.
	Err() error
}

// Precise is implemented by backends that can be opened in several precisions.
// Call [PrecisionOf].
type Precise interface {
	Precision() Precision
}

// Precision is what a backend does to the inputs of matrix products before it multiplies
// them; GPU backends do the same in attention, package cpu does not. Sums are in float32, and so is
// everything else: weights, moments, norms, softmaxes, log-probs.
type Precision int

const (
	// PrecisionFloat32 multiplies float32 as they are: the default.
	PrecisionFloat32 Precision = iota
	// PrecisionTF32 rounds inputs to 11 significant bits.
	PrecisionTF32
	// PrecisionBFloat16 rounds inputs to 8 significant bits, to nearest, ties to even.
	PrecisionBFloat16
)

var precisions = []string{"float32", "tf32", "bf16"}

// String returns float32, tf32 or bf16.
func (p Precision) String() string {
	if p < 0 || int(p) >= len(precisions) {
		return fmt.Sprintf("Precision(%d)", int(p))
	}
	return precisions[p]
}

// MarshalText is String for the known precisions; others are errors.
func (p Precision) MarshalText() ([]byte, error) {
	if p < 0 || int(p) >= len(precisions) {
		return nil, fmt.Errorf("tensor: %v is no precision", p)
	}
	return []byte(p.String()), nil
}

// UnmarshalText accepts float32, tf32 and bf16.
func (p *Precision) UnmarshalText(text []byte) error {
	i := slices.Index(precisions, string(text))
	if i < 0 {
		return fmt.Errorf("precision %q, want float32, tf32 or bf16", text)
	}
	*p = Precision(i)
	return nil
}

// Tolerance bounds the error of a matrix product of standard normal values, as a
// share of the largest magnitude in the result, or of 1 if that is more and inputs are
// rounded.
func (p Precision) Tolerance() float64 {
	switch p {
	case PrecisionTF32:
		return 2e-3
	case PrecisionBFloat16:
		return 1.6e-2
	}
	return 5e-6
}
