// Included by attention.cu for each size of head, D, with tiles of BM rows and
// BN keys forward, of KM rows and KN keys where gradients go to the keys.

#define OWN (BM * D / AT) // elements of a tile that a thread sums in registers

KERNEL(CAT(attend, D), AT)(OUT_ACT(out), OUT(float, lse), IN_ACT(q), IN_ACT(k), IN_ACT(v), IN(int, tiles),
                           int heads, int kv_heads, int dim, int left, int right, float scale) {
  SHARED float qs[BM * (D + 1)], kv[BN * (D + 1)], ss[BM * (BN + 1)], ps[BM * (BN + 1)];
  SHARED float top[BM], sum[BM], fade[BM];
  USE_OUT(float, lse); USE_IN(int, tiles);
  GLOBAL const int *t = tiles + TILE_INTS * BIDX;
  const int first = t[0], rows = t[1] - first, h = BIDY, kh = h / (heads / kv_heads);
  float o[OWN];
  UNROLL for (int x = 0; x < OWN; x++) o[x] = 0;
  if (TID < BM) { top[TID] = NEG_INF; sum[TID] = 0; }
  LOAD_ROWS(qs, BM, q, first, rows, heads, h);
  for (int part = 0; part < 2; part++) { // the prefix, then the segment itself
    const int from = part == 0 ? t[4] : LARGER(t[2], first - left);
    const int to = part == 0 ? t[5] : SMALLER(t[3], first + rows + right);
    for (int at = from; at < to; at += BN) {
      const int n = SMALLER(to - at, BN);
      BARRIER();
      LOAD_ROWS(kv, BN, k, at, n, kv_heads, kh);
      BARRIER();
      for (int e = TID; e < BM * BN; e += AT) {
        const int r = e / BN, c = e % BN, ahead = at + c - first - r;
        float s = NEG_INF;
        if (c < n && (part == 0 || (ahead <= right && -ahead <= left))) {
          s = 0;
          for (int d = 0; d < dim; d++) s = FMA(qs[r * (D + 1) + d], kv[c * (D + 1) + d], s);
          s *= scale;
        }
        ss[r * (BN + 1) + c] = s;
      }
      BARRIER();
      LOAD_ROWS(kv, BN, v, at, n, kv_heads, kh);
      if (TID < BM) {
        float m = top[TID];
        for (int c = 0; c < BN; c++) m = MAX(m, ss[TID * (BN + 1) + c]);
        const float f = m == NEG_INF ? 1 : EXP(top[TID] - m);
        float l = sum[TID] * f;
        for (int c = 0; c < BN; c++) {
          const float p = m == NEG_INF ? 0 : EXP(ss[TID * (BN + 1) + c] - m);
          ps[TID * (BN + 1) + c] = p;
          l += p;
        }
        top[TID] = m; sum[TID] = l; fade[TID] = f;
      }
      BARRIER();
      UNROLL for (int x = 0; x < OWN; x++) o[x] *= fade[(TID + AT * x) / D];
      ROLL for (int j = 0; j < n; j++) {
        UNROLL for (int x = 0; x < OWN; x++) {
          const int r = (TID + AT * x) / D, c = (TID + AT * x) % D;
          if (c < dim) o[x] = FMA(ps[r * (BN + 1) + j], kv[j * (D + 1) + c], o[x]);
        }
      }
    }
  }
  BARRIER();
  UNROLL for (int x = 0; x < OWN; x++) {
    const int r = (TID + AT * x) / D, c = (TID + AT * x) % D;
    if (r < rows && c < dim) PUT(out, ((offset_t)(first + r) * heads + h) * dim + c, o[x] / sum[r]);
  }
  if (TID < rows) lse[(offset_t)(first + TID) * heads + h] = top[TID] + LOG(sum[TID]);
}

// With p = exp(score − lse) and δ = dout·out: ds = p·(dout·v − δ), dq += scale·ds·k.
KERNEL(CAT(attend_dq, D), AT)(OUT_ACT(dq), IN_ACT(dout), IN(float, delta), IN(float, lse), IN_ACT(q), IN_ACT(k),
                              IN_ACT(v), IN(int, tiles), int heads, int kv_heads, int dim, int left, int right, float scale) {
  SHARED float qs[BM * (D + 1)], os[BM * (D + 1)], kv[BN * (D + 1)], ss[BM * (BN + 1)];
  USE_IN(float, delta); USE_IN(float, lse);
  USE_IN(int, tiles);
  GLOBAL const int *t = tiles + TILE_INTS * BIDX;
  const int first = t[0], rows = t[1] - first, h = BIDY, kh = h / (heads / kv_heads);
  float o[OWN];
  UNROLL for (int x = 0; x < OWN; x++) o[x] = 0;
  LOAD_ROWS(qs, BM, q, first, rows, heads, h);
  LOAD_ROWS(os, BM, dout, first, rows, heads, h);
  for (int part = 0; part < 2; part++) {
    const int from = part == 0 ? t[4] : LARGER(t[2], first - left);
    const int to = part == 0 ? t[5] : SMALLER(t[3], first + rows + right);
    for (int at = from; at < to; at += BN) {
      const int n = SMALLER(to - at, BN);
      BARRIER();
      LOAD_ROWS(kv, BN, v, at, n, kv_heads, kh);
      BARRIER();
      for (int e = TID; e < BM * BN; e += AT) {
        const int r = e / BN, c = e % BN;
        float s = 0;
        for (int d = 0; d < dim; d++) s = FMA(os[r * (D + 1) + d], kv[c * (D + 1) + d], s);
        ss[r * (BN + 1) + c] = s;
      }
      BARRIER();
      LOAD_ROWS(kv, BN, k, at, n, kv_heads, kh);
      BARRIER();
      for (int e = TID; e < BM * BN; e += AT) {
        const int r = e / BN, c = e % BN, ahead = at + c - first - r;
        float ds = 0;
        if (r < rows && c < n && (part == 0 || (ahead <= right && -ahead <= left))) {
          const offset_t row = (offset_t)(first + r) * heads + h;
          float s = 0;
          for (int d = 0; d < dim; d++) s = FMA(qs[r * (D + 1) + d], kv[c * (D + 1) + d], s);
          ds = EXP(s * scale - lse[row]) * (ss[r * (BN + 1) + c] - delta[row]) * scale;
        }
        ss[r * (BN + 1) + c] = ds;
      }
      BARRIER();
      ROLL for (int j = 0; j < n; j++) {
        UNROLL for (int x = 0; x < OWN; x++) {
          const int r = (TID + AT * x) / D, c = (TID + AT * x) % D;
          if (c < dim) o[x] = FMA(ss[r * (BN + 1) + j], kv[j * (D + 1) + c], o[x]);
        }
      }
    }
  }
  UNROLL for (int x = 0; x < OWN; x++) {
    const int r = (TID + AT * x) / D, c = (TID + AT * x) % D;
    if (r < rows && c < dim) ADD(dq, ((offset_t)(first + r) * heads + h) * dim + c, o[x]);
  }
}
#undef OWN

// dv += p·dout and dk += scale·ds·q, for a tile of keys, over all rows that see
// them: of its own segment, then of the segments whose prefix it is, users
// [t[4], t[5]) with their first rows and ends; and over the query heads of its
// head. So every sum has one block and one order.
#define OWN (KN * D / AT)
KERNEL(CAT(attend_dkv, D), AT)(OUT_ACT(dk), OUT_ACT(dv), IN_ACT(dout), IN(float, delta), IN(float, lse),
                               IN_ACT(q), IN_ACT(k), IN_ACT(v), IN(int, tiles), IN(int, users), int heads,
                               int kv_heads, int dim, int left, int right, float scale) {
  SHARED float ks[KN * (D + 1)], vs[KN * (D + 1)], qs[KM * (D + 1)], os[KM * (D + 1)], ps[KM * (KN + 1)], ss[KM * (KN + 1)];
  USE_IN(float, delta); USE_IN(float, lse);
  USE_IN(int, tiles); USE_IN(int, users);
  GLOBAL const int *t = tiles + TILE_INTS * BIDX;
  const int first = t[0], keys = t[1] - first, kh = BIDY, group = heads / kv_heads;
  float odk[OWN], odv[OWN];
  UNROLL for (int x = 0; x < OWN; x++) odk[x] = odv[x] = 0;
  LOAD_ROWS(ks, KN, k, first, keys, kv_heads, kh);
  LOAD_ROWS(vs, KN, v, first, keys, kv_heads, kh);
  for (int h = kh * group; h < (kh + 1) * group; h++)
    for (int user = t[4] - 1; user < t[5]; user++) {
      const int own = user < t[4];
      const int from = own ? LARGER(t[2], first - right) : users[2 * user];
      const int to = own ? SMALLER(t[3], first + keys + left) : users[2 * user + 1];
      for (int at = from; at < to; at += KM) {
        const int n = SMALLER(to - at, KM);
        BARRIER();
        LOAD_ROWS(qs, KM, q, at, n, heads, h);
        LOAD_ROWS(os, KM, dout, at, n, heads, h);
        BARRIER();
        for (int e = TID; e < KM * KN; e += AT) {
          const int r = e / KN, c = e % KN, ahead = first + c - at - r;
          float p = 0, ds = 0;
          if (r < n && c < keys && (!own || (ahead <= right && -ahead <= left))) {
            const offset_t row = (offset_t)(at + r) * heads + h;
            float s = 0, dp = 0;
            for (int d = 0; d < dim; d++) {
              s = FMA(qs[r * (D + 1) + d], ks[c * (D + 1) + d], s);
              dp = FMA(os[r * (D + 1) + d], vs[c * (D + 1) + d], dp);
            }
            p = EXP(s * scale - lse[row]);
            ds = p * (dp - delta[row]) * scale;
          }
          ps[r * (KN + 1) + c] = p;
          ss[r * (KN + 1) + c] = ds;
        }
        BARRIER();
        ROLL for (int r = 0; r < n; r++) {
          UNROLL for (int x = 0; x < OWN; x++) {
            const int j = (TID + AT * x) / D, c = (TID + AT * x) % D;
            if (c < dim) {
              odv[x] = FMA(ps[r * (KN + 1) + j], os[r * (D + 1) + c], odv[x]);
              odk[x] = FMA(ss[r * (KN + 1) + j], qs[r * (D + 1) + c], odk[x]);
            }
          }
        }
      }
    }
  UNROLL for (int x = 0; x < OWN; x++) {
    const int j = (TID + AT * x) / D, c = (TID + AT * x) % D;
    if (j < keys && c < dim) {
      const offset_t i = ((offset_t)(first + j) * kv_heads + kh) * dim + c;
      ADD(dk, i, odk[x]);
      ADD(dv, i, odv[x]);
    }
  }
}
#undef OWN
#undef D
#undef BM
#undef BN
#undef KM
#undef KN
