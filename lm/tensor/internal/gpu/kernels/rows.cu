// Operations on the rows of a matrix: biases, gathering, norms, rotations.
#define RT 256 // threads of a row kernel: one block a row

KERNEL(add_bias, VT)(OUT_ACT(x), IN(float, bias), offset_t n, int cols) {
  USE_IN(float, bias);
  EACH(i, n) ADD(x, i, bias[i % cols]);
}

// Kernels that sum columns have blocks of CX columns by CY rows: thread
// (TID / CX, TID % CX) sums every CY-th row, then a tree adds those up.
#define CX 16
#define CY 16
#define REDUCE_COLUMNS(acc, scratch)                                             \
  do {                                                                           \
    scratch[TID] = acc;                                                          \
    BARRIER();                                                                   \
    ROLL for (int half_ = CY / 2; half_ > 0; half_ /= 2) {                       \
      if (TID < half_ * CX) scratch[TID] += scratch[TID + half_ * CX];           \
      BARRIER();                                                                 \
    }                                                                            \
    acc = scratch[TID % CX];                                                     \
    BARRIER();                                                                   \
  } while (0)

KERNEL(sum_rows, CX * CY)(OUT(float, dst), IN_ACT(x), int rows, int cols) {
  SHARED float scratch[CX * CY];
  USE_OUT(float, dst);
  const int j = BIDX * CX + TID % CX;
  float sum = 0;
  if (j < cols)
    for (int i = TID / CX; i < rows; i += CY) sum += GET(x, (offset_t)i * cols + j);
  REDUCE_COLUMNS(sum, scratch);
  if (TID < CX && j < cols) dst[j] += sum;
}

KERNEL(gather, RT)(OUT_ACT(dst), IN_ACT(src), IN(int, idx), int cols) {
  USE_IN(int, idx);
  const offset_t to = (offset_t)BIDX * cols, from = (offset_t)idx[BIDX] * cols;
  for (int j = TID; j < cols; j += RT) PUT(dst, to + j, GET(src, from + j));
}

// A block adds, in order, all source rows that go to one row of dst: group g is
// the row groups[2g], whose sources are order[groups[2g+1]] up to where the
// next group's begin.
KERNEL(scatter_add, RT)(OUT_ACT(dst), IN_ACT(src), IN(int, groups), IN(int, order), int cols) {
  USE_IN(int, groups); USE_IN(int, order);
  GLOBAL const int *g = groups + 2 * BIDX;
  for (int j = TID; j < cols; j += RT) {
    float sum = GET(dst, (offset_t)g[0] * cols + j);
    for (int i = g[1]; i < g[3]; i++) sum += GET(src, (offset_t)order[i] * cols + j);
    PUT(dst, (offset_t)g[0] * cols + j, sum);
  }
}

KERNEL(rms_norm, RT)(OUT_ACT(y), OUT(float, inv), IN_ACT(x), IN(float, w), int cols, float eps) {
  SHARED float scratch[RT];
  USE_OUT(float, inv); USE_IN(float, w);
  const offset_t at = (offset_t)BIDX * cols;
  float sum = 0;
  for (int j = TID; j < cols; j += RT) sum = FMA(GET(x, at + j), GET(x, at + j), sum);
  REDUCE(PLUS, RT, sum, scratch);
  const float r = 1 / SQRT(sum / cols + eps);
  for (int j = TID; j < cols; j += RT) PUT(y, at + j, GET(x, at + j) * r * w[j]);
  if (TID == 0) inv[BIDX] = r;
}

KERNEL(rms_norm_dx, RT)(OUT_ACT(dx), IN_ACT(dy), IN_ACT(x), IN(float, w), IN(float, inv), int cols) {
  SHARED float scratch[RT];
  USE_IN(float, w); USE_IN(float, inv);
  const offset_t at = (offset_t)BIDX * cols;
  const float r = inv[BIDX];
  float sum = 0;
  for (int j = TID; j < cols; j += RT) sum = FMA(w[j] * GET(dy, at + j), GET(x, at + j) * r, sum);
  REDUCE(PLUS, RT, sum, scratch);
  const float mean = sum / cols;
  for (int j = TID; j < cols; j += RT) ADD(dx, at + j, r * (w[j] * GET(dy, at + j) - GET(x, at + j) * r * mean));
}

KERNEL(rms_norm_dw, CX * CY)(OUT(float, dw), IN_ACT(dy), IN_ACT(x), IN(float, inv), int rows, int cols) {
  SHARED float scratch[CX * CY];
  USE_OUT(float, dw); USE_IN(float, inv);
  const int j = BIDX * CX + TID % CX;
  float sum = 0;
  if (j < cols)
    for (int i = TID / CX; i < rows; i += CY) {
      const offset_t at = (offset_t)i * cols + j;
      sum = FMA(GET(dy, at), GET(x, at) * inv[i], sum);
    }
  REDUCE_COLUMNS(sum, scratch);
  if (TID < CX && j < cols) dw[j] += sum;
}

KERNEL(layer_norm, RT)(OUT_ACT(y), OUT(float, mean), OUT(float, inv), IN_ACT(x), IN(float, w), IN(float, bias),
                       int cols, float eps) {
  SHARED float scratch[RT];
  USE_OUT(float, mean); USE_OUT(float, inv); USE_IN(float, w); USE_IN(float, bias);
  const offset_t at = (offset_t)BIDX * cols;
  float sum = 0;
  for (int j = TID; j < cols; j += RT) sum += GET(x, at + j);
  REDUCE(PLUS, RT, sum, scratch);
  const float m = sum / cols;
  float squares = 0;
  for (int j = TID; j < cols; j += RT) squares = FMA(GET(x, at + j) - m, GET(x, at + j) - m, squares);
  REDUCE(PLUS, RT, squares, scratch);
  const float r = 1 / SQRT(squares / cols + eps);
  for (int j = TID; j < cols; j += RT) PUT(y, at + j, (GET(x, at + j) - m) * r * w[j] + bias[j]);
  if (TID == 0) { mean[BIDX] = m; inv[BIDX] = r; }
}

KERNEL(layer_norm_dx, RT)(OUT_ACT(dx), IN_ACT(dy), IN_ACT(x), IN(float, w), IN(float, mean), IN(float, inv), int cols) {
  SHARED float scratch[RT];
  USE_IN(float, w); USE_IN(float, mean); USE_IN(float, inv);
  const offset_t at = (offset_t)BIDX * cols;
  const float m = mean[BIDX], r = inv[BIDX];
  float sum_g = 0, sum_gn = 0;
  for (int j = TID; j < cols; j += RT) {
    const float g = w[j] * GET(dy, at + j);
    sum_g += g;
    sum_gn = FMA(g, (GET(x, at + j) - m) * r, sum_gn);
  }
  REDUCE(PLUS, RT, sum_g, scratch);
  REDUCE(PLUS, RT, sum_gn, scratch);
  const float mean_g = sum_g / cols, mean_gn = sum_gn / cols;
  for (int j = TID; j < cols; j += RT)
    ADD(dx, at + j, r * (w[j] * GET(dy, at + j) - mean_g - (GET(x, at + j) - m) * r * mean_gn));
}

KERNEL(layer_norm_dw, CX * CY)(OUT(float, dw), OUT(float, dbias), IN_ACT(dy), IN_ACT(x), IN(float, mean),
                               IN(float, inv), int rows, int cols) {
  SHARED float scratch[CX * CY];
  USE_OUT(float, dw); USE_OUT(float, dbias); USE_IN(float, mean); USE_IN(float, inv);
  const int j = BIDX * CX + TID % CX;
  float sum_w = 0, sum_b = 0;
  if (j < cols)
    for (int i = TID / CX; i < rows; i += CY) {
      const offset_t at = (offset_t)i * cols + j;
      sum_w = FMA(GET(dy, at), (GET(x, at) - mean[i]) * inv[i], sum_w);
      sum_b += GET(dy, at);
    }
  REDUCE_COLUMNS(sum_w, scratch);
  REDUCE_COLUMNS(sum_b, scratch);
  if (TID < CX && j < cols) { dw[j] += sum_w; dbias[j] += sum_b; }
}

// sin and cos of a·b, to a few units in the last place: a·b is the exact sum of
// two floats, and the quarter turns that are taken off are the difference of two,
// so that a position of 100,000 costs no digits. The polynomials are those of
// Cephes' sinf and cosf, which hold for [−π/4, π/4].
#define SIN_COS(a, b, s, c)                                                                          \
  do {                                                                                               \
    const float hi_ = (a) * (b), lo_ = FMA(a, b, -hi_), turns_ = RINT(hi_ * 0.63661977f);            \
    const float x_ = FMA(-turns_, -4.3711388e-8f, FMA(-turns_, 1.57079637f, hi_)) + lo_, z_ = x_ * x_; \
    const float s_ = FMA(FMA(FMA(-1.9515296e-4f, z_, 8.3321609e-3f), z_, -1.6666655e-1f) * z_, x_, x_); \
    const float c_ = FMA(FMA(FMA(2.4433157e-5f, z_, -1.3887316e-3f), z_, 4.1666646e-2f), z_ * z_, FMA(-0.5f, z_, 1)); \
    const int quarter_ = (int)turns_ & 3;                                                            \
    s = quarter_ & 1 ? c_ : s_;                                                                      \
    c = quarter_ & 1 ? s_ : c_;                                                                      \
    if (quarter_ & 2) s = -s;                                                                        \
    if (quarter_ == 1 || quarter_ == 2) c = -c;                                                      \
  } while (0)

// Rotates the pairs (i, i + dim/2) of each head of row BIDX by pos·freq[i].
KERNEL(rope, RT)(OUT_ACT(x), IN(int, pos), IN(float, freq), int heads, int dim, float sign) {
  USE_IN(int, pos); USE_IN(float, freq);
  const int half_dim = dim / 2;
  const float p = (float)pos[BIDX];
  for (int i = TID; i < half_dim * heads; i += RT) {
    const int j = i % half_dim;
    float s, c;
    SIN_COS(p, freq[j], s, c);
    s *= sign;
    const offset_t at = ((offset_t)BIDX * heads + i / half_dim) * dim + j;
    const float x0 = GET(x, at), x1 = GET(x, at + half_dim);
    PUT(x, at, x0 * c - x1 * s);
    PUT(x, at + half_dim, x1 * c + x0 * s);
  }
}
