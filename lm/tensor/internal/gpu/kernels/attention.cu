// Attention over a packed batch, in tiles with an online softmax (Dao et al.,
// arXiv:2205.14135): no matrix of [rows×rows] is ever held.
//
// tiles has TILE_INTS numbers a tile of consecutive rows of one segment: its
// first row and its end, the segment's, and those of the segment's prefix. Row i
// sees its whole prefix, and of its segment the rows from i − left to i + right.
#define AT 128
#define TILE_INTS 6
#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define LARGER(a, b) ((a) > (b) ? (a) : (b))
#define SMALLER(a, b) ((a) < (b) ? (a) : (b))

// Loads n rows of a head into shared memory, rows of pitch D+1; the others up to
// tile_rows become 0: what lies there need not be finite.
#define LOAD_ROWS(to, tile_rows, from, first, n, heads, h)                                   \
  ROLL for (int e_ = TID; e_ < (tile_rows) * dim; e_ += AT) {                                 \
    const int r_ = e_ / dim, c_ = e_ % dim;                                                  \
    to[r_ * (D + 1) + c_] = r_ < (n) ? GET(from, ((offset_t)((first) + r_) * (heads) + (h)) * dim + c_) : 0; \
  }

// delta [rows×heads] = Σ dout·out of each row and head, for the backward pass.
KERNEL(attend_delta, AT)(OUT(float, delta), IN_ACT(dout), IN_ACT(out), offset_t n, int dim) {
  USE_OUT(float, delta);
  const offset_t i = (offset_t)BIDX * AT + TID;
  if (i < n) {
    float sum = 0;
    for (int c = 0; c < dim; c++) sum = FMA(GET(dout, i * dim + c), GET(out, i * dim + c), sum);
    delta[i] = sum;
  }
}

// D is the largest head, BM and BN are the rows and keys of a tile. Local memory
// is at most 32 KB.
#define D 64
#define BM 32
#define BN 32
#define KM 16
#define KN 32
#include "attend.cu"
#define D 128
#define BM 16
#define BN 16
#define KM 8
#define KN 16
#include "attend.cu"
#define D 256
#define BM 8
#define BN 8
#define KM 4
#define KN 8
#include "attend.cu"

// Attention of new rows to a cache. The cache rows of a query are cut into parts
// of at most DECODE_KEYS: part p is parts[3p] = query, first and end of the cache
// rows. A block does one part for all query heads of a key head and writes, for
// each, the largest score, Σ exp, and the sum of values, which decode_join joins.
#define DT 128
#define DECODE_KEYS 128
#define DECODE_MAX_DIM 256
KERNEL(decode_part, DT)(OUT(float, partial), IN_ACT(q), IN_ACT(k), IN_ACT(v), IN(int, parts), int heads,
                        int kv_heads, int dim, float scale) {
  SHARED float qs[DECODE_MAX_DIM], ps[DECODE_KEYS], scratch[DT];
  USE_OUT(float, partial); USE_IN(int, parts);
  GLOBAL const int *part = parts + 3 * BIDX;
  const int kh = BIDY, group = heads / kv_heads, first = part[1], n = part[2] - part[1];
  for (int h = kh * group; h < (kh + 1) * group; h++) {
    for (int c = TID; c < dim; c += DT) qs[c] = GET(q, ((offset_t)part[0] * heads + h) * dim + c);
    BARRIER();
    float s = NEG_INF;
    if (TID < n) {
      const offset_t key = ((offset_t)(first + TID) * kv_heads + kh) * dim;
      s = 0;
      for (int c = 0; c < dim; c++) s = FMA(qs[c], GET(k, key + c), s);
      s *= scale;
    }
    float top = s;
    REDUCE(MAX, DT, top, scratch);
    float sum = TID < n ? EXP(s - top) : 0;
    ps[TID] = sum;
    REDUCE(PLUS, DT, sum, scratch);
    GLOBAL float *to = partial + ((offset_t)BIDX * heads + h) * (dim + 2);
    for (int c = TID; c < dim; c += DT) {
      float o = 0;
      for (int j = 0; j < n; j++) o = FMA(ps[j], GET(v, ((offset_t)(first + j) * kv_heads + kh) * dim + c), o);
      to[2 + c] = o;
    }
    if (TID == 0) { to[0] = top; to[1] = sum; }
    BARRIER();
  }
}

// Joins the parts [starts[row], starts[row+1]) of each row, in order.
KERNEL(decode_join, DT)(OUT_ACT(out), IN(float, partial), IN(int, starts), int heads, int dim) {
  USE_IN(float, partial); USE_IN(int, starts);
  const int row = BIDX, h = BIDY, from = starts[row], to = starts[row + 1];
  const offset_t stride = (offset_t)heads * (dim + 2);
  GLOBAL const float *parts = partial + (offset_t)h * (dim + 2);
  float top = NEG_INF;
  for (int p = from; p < to; p++) top = MAX(top, parts[p * stride]);
  float sum = 0;
  for (int p = from; p < to; p++) sum = FMA(EXP(parts[p * stride] - top), parts[p * stride + 1], sum);
  for (int c = TID; c < dim; c += DT) {
    float o = 0;
    for (int p = from; p < to; p++) o = FMA(EXP(parts[p * stride] - top), parts[p * stride + 2 + c], o);
    PUT(out, ((offset_t)row * heads + h) * dim + c, o / sum);
  }
}

// Stores row BIDX of k and v, cols wide, in row slots[BIDX] of the caches.
KERNEL(store_cache, DT)(OUT_ACT(k_cache), OUT_ACT(v_cache), IN_ACT(k), IN_ACT(v), IN(int, slots), int cols) {
  USE_IN(int, slots);
  const offset_t to = (offset_t)slots[BIDX] * cols, from = (offset_t)BIDX * cols;
  for (int j = TID; j < cols; j += DT) {
    PUT(k_cache, to + j, GET(k, from + j));
    PUT(v_cache, to + j, GET(v, from + j));
  }
}
