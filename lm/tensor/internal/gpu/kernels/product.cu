// c = alpha·op(a)·op(b) + beta·add + bias in float32, whichever way a and b lie in
// memory. add is of c's shape and may be c; bias is a row, if there is one.
#define ADDENDS IN_ACT(add), IN(float, bias), float beta, int has_bias
#define FINISH(at, column, product)                           \
  do {                                                        \
    float sum_ = (product);                                   \
    if (beta != 0) sum_ = FMA(beta, GET(add, at), sum_);      \
    if (has_bias) sum_ += (bias_base + bias_at)[column];      \
    PUT(c, at, sum_);                                         \
  } while (0)

// A block computes a tile of GM×GN, a thread 4×4 of it, in steps of GK. Each
// element is summed in the order of k, by FMAs.
#define GT 256
#define GM 64
#define GN 64
#define GK 16
KERNEL(matmul, GT)(OUT_ACT(c), IN_ACT(a), IN_ACT(b), int m, int n, int k, int a_row, int a_col, int b_row,
                   int b_col, float alpha, ADDENDS) {
  SHARED float as[GK * (GM + 1)], bs[GK * (GN + 1)];
  const int i0 = BIDY * GM, j0 = BIDX * GN, ti = TID / 16, tj = TID % 16;
  float acc[4][4];
  UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < 4; j++) acc[i][j] = 0;
  for (int k0 = 0; k0 < k; k0 += GK) {
    ROLL for (int e = TID; e < GK * GM; e += GT) {
      // Neighbours in memory for neighbouring threads, whichever way a lies.
      const int i = a_col == 1 ? e / GK : e % GM, p = a_col == 1 ? e % GK : e / GM;
      as[p * (GM + 1) + i] = i0 + i < m && k0 + p < k ? GET(a, (offset_t)(i0 + i) * a_row + (offset_t)(k0 + p) * a_col) : 0;
    }
    ROLL for (int e = TID; e < GK * GN; e += GT) {
      const int j = b_col == 1 ? e % GN : e / GK, p = b_col == 1 ? e / GN : e % GK;
      bs[p * (GN + 1) + j] = j0 + j < n && k0 + p < k ? GET(b, (offset_t)(k0 + p) * b_row + (offset_t)(j0 + j) * b_col) : 0;
    }
    BARRIER();
    for (int p = 0; p < GK; p++) {
      float x[4], y[4];
      UNROLL for (int i = 0; i < 4; i++) { x[i] = as[p * (GM + 1) + ti + 16 * i]; y[i] = bs[p * (GN + 1) + tj + 16 * i]; }
      UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < 4; j++) acc[i][j] = FMA(x[i], y[j], acc[i][j]);
    }
    BARRIER();
  }
  UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < 4; j++) {
    const int r = i0 + ti + 16 * i, s = j0 + tj + 16 * j;
    if (r < m && s < n) {
      const offset_t at = (offset_t)r * n + s;
      FINISH(at, s, alpha * acc[i][j]);
    }
  }
}

// The same for few rows of a, which lie as they are: what counts is to read b
// once. A block does WC columns, LANES threads a column; lane l sums the pairs
// of k number l, l + LANES, …, and a tree adds the lanes up.
#define WC 8
#define LANES 32
#define AHEAD 4
#define LOAD_PAIR(y0, y1, p, both)                                                           \
  do {                                                                                       \
    if (pairs) {                                                                             \
      const word_t pair_ = ((GLOBAL const word_t *)b_base)[(b_at + column + (p)) / 2];       \
      y0 = FROM_BITS(pair_ << 16);                                                           \
      y1 = FROM_BITS(pair_ & 0xffff0000u);                                                   \
    } else {                                                                                 \
      y0 = GET(b, column + (offset_t)(p) * b_row);                                           \
      y1 = (both) ? GET(b, column + (offset_t)((p) + 1) * b_row) : 0;                        \
    }                                                                                        \
  } while (0)
#define ADD_PAIR(y0, y1, p, both)                                                            \
  UNROLL for (int r = 0; r < ROWS; r++) {                                                    \
    if (r < m) {                                                                             \
      acc[r] = FMA(GET(a, (offset_t)r * k + (p)), y0, acc[r]);                               \
      if (both) acc[r] = FMA(GET(a, (offset_t)r * k + (p) + 1), y1, acc[r]);                 \
    }                                                                                        \
  }
#define ROWS 1
#define MATVEC matvec1
#include "matvec.cu"
#define ROWS 2
#define MATVEC matvec2
#include "matvec.cu"
#define ROWS 4
#define MATVEC matvec4
#include "matvec.cu"
#define ROWS 8
#define MATVEC matvec8
#include "matvec.cu"

// Packs op(b) [k×n], which is b[p·b_row + j·b_col], as its transpose [n×pitch]
// with rows padded with zeros: what the products on tensor cores read of both
// sides. A block does a tile of 32×32 by way of shared memory.
#define PACK_TILE 32
KERNEL(pack_bf16, 256)(OUT(float, p), IN_ACT(b), int n, int k, int pitch, int b_row, int b_col) {
  SHARED float tile[PACK_TILE * (PACK_TILE + 1)];
  USE_OUT(float, p);
  GLOBAL word_t *out = (GLOBAL word_t *)p;
  const int k0 = BIDX * PACK_TILE, j0 = BIDY * PACK_TILE;
  ROLL for (int e = TID; e < PACK_TILE * PACK_TILE; e += 256) {
    const int r = b_row == 1 ? e % PACK_TILE : e / PACK_TILE, s = b_row == 1 ? e / PACK_TILE : e % PACK_TILE;
    tile[s * (PACK_TILE + 1) + r] = j0 + s < n && k0 + r < k ? GET(b, (offset_t)(k0 + r) * b_row + (offset_t)(j0 + s) * b_col) : 0;
  }
  BARRIER();
  ROLL for (int e = TID; e < PACK_TILE * PACK_TILE / 2; e += 256) {
    const int s = e / (PACK_TILE / 2), r = e % (PACK_TILE / 2) * 2;
    if (j0 + s < n && k0 + r < pitch)
      out[((offset_t)(j0 + s) * pitch + k0 + r) / 2] =
          (word_t)to_bf16(tile[s * (PACK_TILE + 1) + r]) | (word_t)to_bf16(tile[s * (PACK_TILE + 1) + r + 1]) << 16;
  }
}

// The same in float32, rounded to the 11 significant bits of TF32 if asked for.
KERNEL(pack_f32, 256)(OUT(float, p), IN_ACT(b), int n, int k, int pitch, int b_row, int b_col, int tf32) {
  SHARED float tile[PACK_TILE * (PACK_TILE + 1)];
  USE_OUT(float, p);
  const int k0 = BIDX * PACK_TILE, j0 = BIDY * PACK_TILE;
  ROLL for (int e = TID; e < PACK_TILE * PACK_TILE; e += 256) {
    const int r = b_row == 1 ? e % PACK_TILE : e / PACK_TILE, s = b_row == 1 ? e / PACK_TILE : e % PACK_TILE;
    tile[s * (PACK_TILE + 1) + r] = j0 + s < n && k0 + r < k ? GET(b, (offset_t)(k0 + r) * b_row + (offset_t)(j0 + s) * b_col) : 0;
  }
  BARRIER();
  ROLL for (int e = TID; e < PACK_TILE * PACK_TILE; e += 256) {
    const int s = e / PACK_TILE, r = e % PACK_TILE;
    if (j0 + s < n && k0 + r < pitch) {
      const float v = tile[s * (PACK_TILE + 1) + r];
      p[(offset_t)(j0 + s) * pitch + k0 + r] = tf32 && v == v ? FROM_BITS((TO_BITS(v) + 0x1000u) & 0xffffe000u) : v;
    }
  }
}
