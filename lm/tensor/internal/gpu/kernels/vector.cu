// Elementwise operations. A block of VT threads does VN elements.
#define VT 256
#define VN 1024
#define EACH(i, n) for (offset_t i = (offset_t)BIDX * VN + TID, end_ = MIN_OFFSET(i - TID + VN, n); i < end_; i += VT)
#define MIN_OFFSET(a, b) ((a) < (b) ? (a) : (b))

// Copies between buffers whose elements differ in size.
KERNEL(convert, VT)(OUT_ACT(dst), IN_ACT(src), offset_t n) {
  EACH(i, n) PUT(dst, i, GET(src, i));
}

KERNEL(fill, VT)(OUT_ACT(dst), offset_t n, float value) {
  EACH(i, n) PUT(dst, i, value);
}

KERNEL(axpy, VT)(OUT_ACT(dst), IN_ACT(x), offset_t n, float alpha) {
  EACH(i, n) PUT(dst, i, FMA(alpha, GET(x, i), GET(dst, i)));
}

// Activations. dy and the inputs may share memory with the gradients.

INLINE float sigmoid(float x) { return 1 / (1 + EXP(-x)); }

KERNEL(swiglu, VT)(OUT_ACT(y), IN_ACT(gate), IN_ACT(up), offset_t n) {
  EACH(i, n) {
    const float g = GET(gate, i);
    PUT(y, i, g * sigmoid(g) * GET(up, i));
  }
}

KERNEL(swiglu_grad, VT)(OUT_ACT(dgate), OUT_ACT(dup), IN_ACT(dy), IN_ACT(gate), IN_ACT(up), offset_t n) {
  EACH(i, n) {
    const float d = GET(dy, i), g = GET(gate, i), u = GET(up, i), s = sigmoid(g);
    PUT(dgate, i, d * u * s * (1 + g * (1 - s)));
    PUT(dup, i, d * g * s);
  }
}

// The standard normal distribution function and density.
INLINE float normal_cdf(float x) { return 0.5f * ERFC(-0.70710678f * x); }
INLINE float normal_pdf(float x) { return 0.39894228f * EXP(-0.5f * x * x); }

KERNEL(gelu, VT)(OUT_ACT(y), IN_ACT(x), offset_t n) {
  EACH(i, n) {
    const float v = GET(x, i);
    PUT(y, i, v * normal_cdf(v));
  }
}

KERNEL(gelu_grad, VT)(OUT_ACT(dx), IN_ACT(dy), IN_ACT(x), offset_t n) {
  EACH(i, n) {
    const float v = GET(x, i);
    PUT(dx, i, GET(dy, i) * (normal_cdf(v) + v * normal_pdf(v)));
  }
}

KERNEL(tanh_forward, VT)(OUT_ACT(y), IN_ACT(x), offset_t n) {
  EACH(i, n) PUT(y, i, TANH(GET(x, i)));
}

KERNEL(tanh_grad, VT)(OUT_ACT(dx), IN_ACT(dy), IN_ACT(y), offset_t n) {
  EACH(i, n) {
    const float v = GET(y, i);
    PUT(dx, i, GET(dy, i) * (1 - v * v));
  }
}

KERNEL(geglu, VT)(OUT_ACT(y), IN_ACT(gate), IN_ACT(up), offset_t n) {
  EACH(i, n) {
    const float g = GET(gate, i);
    PUT(y, i, g * normal_cdf(g) * GET(up, i));
  }
}

KERNEL(geglu_grad, VT)(OUT_ACT(dgate), OUT_ACT(dup), IN_ACT(dy), IN_ACT(gate), IN_ACT(up), offset_t n) {
  EACH(i, n) {
    const float d = GET(dy, i), g = GET(gate, i), u = GET(up, i), cdf = normal_cdf(g);
    PUT(dgate, i, d * u * (cdf + g * normal_pdf(g)));
    PUT(dup, i, d * g * cdf);
  }
}

// Sums of squares, as if in float64: a sum is a pair of floats, high and low,
// and every rounding error goes into low (Knuth's TwoSum, an FMA for products).
// Large values have a sum of their own, of squares of 2^-80 times them, so that
// squares overflow only if their root would.
#define LARGE 0x1p50f
#define SHRINK 0x1p-80f
#define GROW 0x1p80f
#define TWO_SUM(hi, lo, x)                            \
  do {                                                \
    const float x_ = (x), s_ = hi + x_, b_ = s_ - hi; \
    lo += (hi - (s_ - b_)) + (x_ - b_);               \
    hi = s_;                                          \
  } while (0)

#define REDUCE_PAIR(hi, lo, his, los)                              \
  do {                                                             \
    his[TID] = hi; los[TID] = lo;                                  \
    BARRIER();                                                     \
    ROLL for (int half_ = VT / 2; half_ > 0; half_ /= 2) {         \
      if (TID < half_) {                                           \
        float h_ = his[TID], l_ = los[TID] + los[TID + half_];     \
        TWO_SUM(h_, l_, his[TID + half_]);                         \
        his[TID] = h_; los[TID] = l_;                              \
      }                                                            \
      BARRIER();                                                   \
    }                                                              \
    hi = his[0]; lo = los[0];                                      \
    BARRIER();                                                     \
  } while (0)

// Each block writes the two pairs of its part: parts [GRIDX×4].
KERNEL(sum_squares, VT)(OUT(float, parts), IN_ACT(x), offset_t n) {
  SHARED float his[VT], los[VT];
  USE_OUT(float, parts);
  float hi = 0, lo = 0, large_hi = 0, large_lo = 0;
  for (offset_t i = (offset_t)BIDX * VT + TID; i < n; i += (offset_t)GRIDX * VT) {
    const float v = GET(x, i);
    if (v > LARGE || v < -LARGE) {
      const float w = v * SHRINK, square = w * w;
      large_lo += FMA(w, w, -square);
      TWO_SUM(large_hi, large_lo, square);
    } else {
      const float square = v * v;
      lo += FMA(v, v, -square);
      TWO_SUM(hi, lo, square);
    }
  }
  REDUCE_PAIR(hi, lo, his, los);
  REDUCE_PAIR(large_hi, large_lo, his, los);
  if (TID == 0) {
    parts[4 * BIDX] = hi; parts[4 * BIDX + 1] = lo;
    parts[4 * BIDX + 2] = large_hi; parts[4 * BIDX + 3] = large_lo;
  }
}

// One block adds n parts and writes their sum, or its root.
KERNEL(sum_parts, VT)(OUT(float, dst), IN(float, parts), int n, int root) {
  SHARED float his[VT], los[VT];
  USE_OUT(float, dst); USE_IN(float, parts);
  float hi = 0, lo = 0, large_hi = 0, large_lo = 0;
  for (int i = TID; i < n; i += VT) {
    lo += parts[4 * i + 1];
    TWO_SUM(hi, lo, parts[4 * i]);
    large_lo += parts[4 * i + 3];
    TWO_SUM(large_hi, large_lo, parts[4 * i + 2]);
  }
  REDUCE_PAIR(hi, lo, his, los);
  REDUCE_PAIR(large_hi, large_lo, his, los);
  if (TID == 0) {
    const float infinity = -NEG_INF;
    const float sum = hi + lo, large = large_hi == infinity ? large_hi : large_hi + large_lo;
    if (large > 0) {
      const float all = large + sum * SHRINK * SHRINK; // of squares of 2^-80 times the values
      dst[0] = root ? SQRT(all) * GROW : all * GROW * GROW;
    } else {
      dst[0] = root ? SQRT(sum) : sum;
    }
  }
}

// AdamW, with the decay first, then the bias-corrected step. correct1 and
// correct2 are 1/(1−β^step), keep is 1 − lr·decay. With a norm, the gradient is
// scaled to max_norm at most (0: as it is), and nothing is changed by one that is
// not finite.
KERNEL(adamw, VT)(OUT(float, p), IN(float, g), OUT(float, m), OUT(float, v), IN(float, norm), offset_t n,
                  float scale, int has_norm, float max_norm, float beta1, float rest1, float beta2, float rest2,
                  float correct1, float correct2, float eps, float keep, float lr) {
  USE_OUT(float, p); USE_IN(float, g); USE_OUT(float, m); USE_OUT(float, v); USE_IN(float, norm);
  float s = scale;
  if (has_norm) {
    if ((TO_BITS(norm[0]) & 0x7f800000u) == 0x7f800000u) return;
    if (max_norm > 0) s = scale * MIN(1.0f, max_norm / (norm[0] + 1e-6f));
  }
  EACH(i, n) {
    const float grad = g[i] * s;
    const float m1 = FMA(beta1, m[i], rest1 * grad), v1 = FMA(beta2, v[i], rest2 * grad * grad);
    m[i] = m1;
    v[i] = v1;
    p[i] = p[i] * keep - lr * (m1 * correct1 / (SQRT(v1 * correct2) + eps));
  }
}
