// Included by product.cu for each number of ROWS: m ≤ ROWS. k ≥ 1.
KERNEL(MATVEC, WC * LANES)(OUT_ACT(c), IN_ACT(a), IN_ACT(b), int m, int n, int k, int b_row, int b_col,
                           float alpha, ADDENDS) {
  SHARED float scratch[WC * LANES], sums[ROWS * WC];
  // Neighbours in memory for neighbouring threads, whichever way b lies.
  const int col = b_row == 1 ? TID / LANES : TID % WC, lane = b_row == 1 ? TID % LANES : TID / WC;
  const int j = BIDX * WC + col;
  const offset_t column = (offset_t)j * b_col;
  // Two elements of 16 bits are one load, as in all packed matrices.
  const int pairs = b_half && b_row == 1 && (b_at + column) % 2 == 0;
  float acc[ROWS];
  UNROLL for (int r = 0; r < ROWS; r++) acc[r] = 0;
  if (j < n) {
    int p = 2 * lane;
    for (; p + 2 * LANES * (AHEAD - 1) + 1 < k; p += 2 * LANES * AHEAD) {
      // All loads of a round are under way before the first is used.
      float y0[AHEAD], y1[AHEAD];
      UNROLL for (int u = 0; u < AHEAD; u++) LOAD_PAIR(y0[u], y1[u], p + 2 * LANES * u, 1);
      UNROLL for (int u = 0; u < AHEAD; u++) ADD_PAIR(y0[u], y1[u], p + 2 * LANES * u, 1);
    }
    ROLL for (; p < k; p += 2 * LANES) {
      const int both = p + 1 < k;
      float y0, y1;
      LOAD_PAIR(y0, y1, p, both);
      ADD_PAIR(y0, y1, p, both);
    }
  }
  UNROLL for (int r = 0; r < ROWS; r++) {
    scratch[lane * WC + col] = acc[r];
    BARRIER();
    ROLL for (int h = LANES / 2; h > 0; h /= 2) {
      if (TID < h * WC) scratch[TID] += scratch[TID + h * WC];
      BARRIER();
    }
    if (TID < WC) sums[r * WC + TID] = scratch[TID];
    BARRIER();
  }
  const int r = TID / WC, s = BIDX * WC + TID % WC;
  if (r < m && s < n) {
    const offset_t at = (offset_t)r * n + s;
    FINISH(at, s, alpha * sums[TID]);
  }
}
#undef ROWS
#undef MATVEC
