// Included by mma.cu for each size of head, D. A fragment's element e of a thread is
// in row lane/4 + 8·(e/2) and column 2·(lane%4) + e%2 of its [16×8].
#define AM 64
#define AN 32
#define AK (2048 / D) // rows of a block where the gradients of keys are computed

// A tile's row has D/8 pieces; which lies where depends on the row.
#define SPOT(r, p) (((r) * (D / 8) + ((p) ^ ((r) & 7))) * 16)

// Loads n rows of a head as bfloat16; the others up to tile_rows, and the columns
// from dim on, become 0.
#define LOAD_TILE(to, tile_rows, from, first, n, heads, h)                                       \
  _Pragma("unroll 2") for (int e_ = TID; e_ < (tile_rows) * D / 2; e_ += 128) {                  \
    const int r_ = e_ / (D / 2), c_ = e_ % (D / 2) * 2;                                          \
    const offset_t at_ = ((offset_t)((first) + r_) * (heads) + (h)) * dim + c_;                  \
    const float x_ = r_ < (n) && c_ < dim ? GET(from, at_) : 0;                                  \
    const float y_ = r_ < (n) && c_ + 1 < dim ? GET(from, at_ + 1) : 0;                          \
    *(unsigned *)((to) + SPOT(r_, c_ / 8) + c_ % 8 * 2) = round_pair(x_, y_);                    \
  }

// acc [16×N] = rows row to row+15 of x times N rows of y, transposed.
#define ROWS_BY_ROWS(N, acc, x, row, y)                                                             \
  UNROLL for (int j = 0; j < (N) / 8; j++) UNROLL for (int e = 0; e < 4; e++) acc[j][e] = 0;      \
  UNROLL for (int c = 0; c < D / 16; c++) {                                                      \
    unsigned xf_[4];                                                                             \
    load_matrices(xf_, (x) + SPOT((row) + lane % 16, 2 * c + lane / 16));                        \
    UNROLL for (int j = 0; j < (N) / 16; j++) {                                                   \
      unsigned yf_[4];                                                                           \
      load_matrices(yf_, (y) + SPOT(16 * j + lane / 16 * 8 + lane % 8, 2 * c + lane / 8 % 2));   \
      mma_bf16(acc[2 * j], xf_, yf_);                                                            \
      mma_bf16(acc[2 * j + 1], xf_, yf_ + 2);                                                    \
    }                                                                                            \
  }

// acc [16×D] += w [16×N], in fragments, times N rows of y.
#define WEIGHTS_BY_ROWS(N, acc, w, y)                                                               \
  UNROLL for (int j = 0; j < (N) / 16; j++) {                                                     \
    const unsigned wf_[4] = {round_pair(w[2 * j][0], w[2 * j][1]), round_pair(w[2 * j][2], w[2 * j][3]), \
                             round_pair(w[2 * j + 1][0], w[2 * j + 1][1]), round_pair(w[2 * j + 1][2], w[2 * j + 1][3])}; \
    UNROLL for (int c = 0; c < D / 16; c++) {                                                    \
      unsigned yf_[4];                                                                           \
      load_transposed(yf_, (y) + SPOT(16 * j + lane % 16, 2 * c + lane / 16));                   \
      mma_bf16(acc[2 * c], wf_, yf_);                                                            \
      mma_bf16(acc[2 * c + 1], wf_, yf_ + 2);                                                    \
    }                                                                                            \
  }

KERNEL(CAT(attend_bf16_, D), 128)(OUT_ACT(out), OUT(float, lse), IN_ACT(q), IN_ACT(k), IN_ACT(v), IN(int, tiles),
                                  int heads, int kv_heads, int dim, int left, int right, float scale) {
  SHARED __align__(16) unsigned char qs[AM * D * 2], ks[AN * D * 2], vs[AN * D * 2];
  USE_OUT(float, lse); USE_IN(int, tiles);
  GLOBAL const int *t = tiles + TILE_INTS * BIDX;
  const int first = t[0], rows = t[1] - first, h = BIDY, kh = h / (heads / kv_heads);
  const int warp = TID / 32, lane = TID % 32, mine = 16 * warp + lane / 4; // and mine + 8
  float o[D / 8][4], top[2] = {NEG_INF, NEG_INF}, sum[2] = {0, 0};
  UNROLL for (int c = 0; c < D / 8; c++) UNROLL for (int e = 0; e < 4; e++) o[c][e] = 0;
  LOAD_TILE(qs, AM, q, first, rows, heads, h);
  for (int part = 0; part < 2; part++) { // the prefix, then the segment itself
    const int from = part == 0 ? t[4] : LARGER(t[2], first - left);
    const int to = part == 0 ? t[5] : SMALLER(t[3], first + rows + right);
    for (int at = from; at < to; at += AN) {
      const int n = SMALLER(to - at, AN);
      BARRIER();
      LOAD_TILE(ks, AN, k, at, n, kv_heads, kh);
      LOAD_TILE(vs, AN, v, at, n, kv_heads, kh);
      BARRIER();
      float s[AN / 8][4];
      ROWS_BY_ROWS(AN, s, qs, 16 * warp, ks);
      UNROLL for (int half = 0; half < 2; half++) {
        float m = top[half];
        UNROLL for (int j = 0; j < AN / 8; j++) UNROLL for (int e = 2 * half; e < 2 * half + 2; e++) {
          const int c = 8 * j + lane % 4 * 2 + e % 2, ahead = at + c - first - mine - 8 * half;
          const bool sees = c < n && (part == 0 || (ahead <= right && -ahead <= left));
          s[j][e] = sees ? s[j][e] * (scale * LOG2E) : NEG_INF;
          m = MAX(m, s[j][e]);
        }
        m = quad_max(m);
        const float base = m == NEG_INF ? 0 : m, fade = EXP2(top[half] - base);
        float l = 0;
        UNROLL for (int j = 0; j < AN / 8; j++) UNROLL for (int e = 2 * half; e < 2 * half + 2; e++) {
          s[j][e] = EXP2(s[j][e] - base);
          l += s[j][e];
        }
        top[half] = m;
        sum[half] = sum[half] * fade + l;
        UNROLL for (int c = 0; c < D / 8; c++) { o[c][2 * half] *= fade; o[c][2 * half + 1] *= fade; }
      }
      WEIGHTS_BY_ROWS(AN, o, s, vs);
    }
  }
  UNROLL for (int half = 0; half < 2; half++) {
    const int r = mine + 8 * half;
    const float total = quad_sum(sum[half]);
    if (r < rows) {
      const offset_t row = (offset_t)(first + r) * heads + h;
      UNROLL for (int c = 0; c < D / 8; c++) UNROLL for (int e = 0; e < 2; e++) {
        const int col = 8 * c + lane % 4 * 2 + e;
        if (col < dim) PUT(out, row * dim + col, o[c][2 * half + e] / total);
      }
      if (lane % 4 == 0) lse[row] = top[half] / LOG2E + LOG(total);
    }
  }
}

KERNEL(CAT(attend_dq_bf16_, D), 128)(OUT_ACT(dq), IN_ACT(dout), IN(float, delta), IN(float, lse), IN_ACT(q), IN_ACT(k),
                                     IN_ACT(v), IN(int, tiles), int heads, int kv_heads, int dim, int left, int right,
                                     float scale) {
  SHARED __align__(16) unsigned char qs[AM * D * 2], os[AM * D * 2], ks[AN * D * 2], vs[AN * D * 2];
  USE_IN(float, delta); USE_IN(float, lse); USE_IN(int, tiles);
  GLOBAL const int *t = tiles + TILE_INTS * BIDX;
  const int first = t[0], rows = t[1] - first, h = BIDY, kh = h / (heads / kv_heads);
  const int warp = TID / 32, lane = TID % 32, mine = 16 * warp + lane / 4;
  float o[D / 8][4], row_lse[2], row_delta[2];
  UNROLL for (int c = 0; c < D / 8; c++) UNROLL for (int e = 0; e < 4; e++) o[c][e] = 0;
  UNROLL for (int half = 0; half < 2; half++) {
    const bool is = mine + 8 * half < rows;
    const offset_t row = (offset_t)(first + mine + 8 * half) * heads + h;
    row_lse[half] = is ? lse[row] * LOG2E : 0;
    row_delta[half] = is ? delta[row] : 0;
  }
  LOAD_TILE(qs, AM, q, first, rows, heads, h);
  LOAD_TILE(os, AM, dout, first, rows, heads, h);
  for (int part = 0; part < 2; part++) {
    const int from = part == 0 ? t[4] : LARGER(t[2], first - left);
    const int to = part == 0 ? t[5] : SMALLER(t[3], first + rows + right);
    for (int at = from; at < to; at += AN) {
      const int n = SMALLER(to - at, AN);
      BARRIER();
      LOAD_TILE(ks, AN, k, at, n, kv_heads, kh);
      LOAD_TILE(vs, AN, v, at, n, kv_heads, kh);
      BARRIER();
      float s[AN / 8][4], dp[AN / 8][4];
      ROWS_BY_ROWS(AN, s, qs, 16 * warp, ks);
      ROWS_BY_ROWS(AN, dp, os, 16 * warp, vs);
      UNROLL for (int j = 0; j < AN / 8; j++) UNROLL for (int e = 0; e < 4; e++) {
        const int r = mine + e / 2 * 8, c = 8 * j + lane % 4 * 2 + e % 2, ahead = at + c - first - r;
        const bool sees = r < rows && c < n && (part == 0 || (ahead <= right && -ahead <= left));
        const float p = sees ? EXP2(s[j][e] * (scale * LOG2E) - row_lse[e / 2]) : 0;
        s[j][e] = p * (dp[j][e] - row_delta[e / 2]) * scale;
      }
      WEIGHTS_BY_ROWS(AN, o, s, ks);
    }
  }
  UNROLL for (int c = 0; c < D / 8; c++) UNROLL for (int e = 0; e < 4; e++) {
    const int r = mine + e / 2 * 8, col = 8 * c + lane % 4 * 2 + e % 2;
    if (r < rows && col < dim) ADD(dq, ((offset_t)(first + r) * heads + h) * dim + col, o[c][e]);
  }
}

// Here a tile's rows are keys, and blocks are of rows that see them.
KERNEL(CAT(attend_dkv_bf16_, D), 128)(OUT_ACT(dk), OUT_ACT(dv), IN_ACT(dout), IN(float, delta), IN(float, lse), IN_ACT(q),
                                      IN_ACT(k), IN_ACT(v), IN(int, tiles), IN(int, users), int heads, int kv_heads,
                                      int dim, int left, int right, float scale) {
  SHARED __align__(16) unsigned char ks[AM * D * 2], vs[AM * D * 2], qs[AK * D * 2], os[AK * D * 2];
  USE_IN(float, delta); USE_IN(float, lse); USE_IN(int, tiles); USE_IN(int, users);
  GLOBAL const int *t = tiles + TILE_INTS * BIDX;
  const int first = t[0], keys = t[1] - first, kh = BIDY, group = heads / kv_heads;
  const int warp = TID / 32, lane = TID % 32, mine = 16 * warp + lane / 4;
  float odk[D / 8][4], odv[D / 8][4];
  UNROLL for (int c = 0; c < D / 8; c++) UNROLL for (int e = 0; e < 4; e++) odk[c][e] = odv[c][e] = 0;
  LOAD_TILE(ks, AM, k, first, keys, kv_heads, kh);
  LOAD_TILE(vs, AM, v, first, keys, kv_heads, kh);
  for (int h = kh * group; h < (kh + 1) * group; h++)
    for (int user = t[4] - 1; user < t[5]; user++) {
      const bool own = user < t[4];
      const int from = own ? LARGER(t[2], first - right) : users[2 * user];
      const int to = own ? SMALLER(t[3], first + keys + left) : users[2 * user + 1];
      for (int at = from; at < to; at += AK) {
        const int n = SMALLER(to - at, AK);
        BARRIER();
        LOAD_TILE(qs, AK, q, at, n, heads, h);
        LOAD_TILE(os, AK, dout, at, n, heads, h);
        BARRIER();
        float p[AK / 8][4], ds[AK / 8][4];
        ROWS_BY_ROWS(AK, p, ks, 16 * warp, qs);
        ROWS_BY_ROWS(AK, ds, vs, 16 * warp, os);
        UNROLL for (int j = 0; j < AK / 8; j++) UNROLL for (int e = 0; e < 4; e++) {
          const int r = 8 * j + lane % 4 * 2 + e % 2, c = mine + e / 2 * 8, ahead = first + c - at - r;
          float w = 0, d = 0;
          if (r < n && c < keys && (!own || (ahead <= right && -ahead <= left))) {
            const offset_t row = (offset_t)(at + r) * heads + h;
            w = EXP2(p[j][e] * (scale * LOG2E) - lse[row] * LOG2E);
            d = w * (ds[j][e] - delta[row]) * scale;
          }
          p[j][e] = w;
          ds[j][e] = d;
        }
        WEIGHTS_BY_ROWS(AK, odv, p, os);
        WEIGHTS_BY_ROWS(AK, odk, ds, qs);
      }
    }
  UNROLL for (int c = 0; c < D / 8; c++) UNROLL for (int e = 0; e < 4; e++) {
    const int r = mine + e / 2 * 8, col = 8 * c + lane % 4 * 2 + e % 2;
    if (r < keys && col < dim) {
      const offset_t i = ((offset_t)(first + r) * kv_heads + kh) * dim + col;
      ADD(dk, i, odk[c][e]);
      ADD(dv, i, odv[c][e]);
    }
  }
}
#undef AM
#undef AN
#undef AK
#undef SPOT
#undef LOAD_TILE
#undef ROWS_BY_ROWS
#undef WEIGHTS_BY_ROWS
#undef D
