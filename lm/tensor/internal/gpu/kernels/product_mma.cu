// Included by mma.cu for each kind of element and size of tile. c = alpha·a·bᵀ +
// beta·add + bias for packed a [m×pitch] and b [n×pitch], whose rows are whole steps of
// PIECES pieces, padded with zeros; pieces is how many a row has.
//
// A block of 2×2 warps does a tile of 2·WT by 2·WT, a warp WT×WT. While it
// multiplies one step, the copies of the next STAGES−1 are under way.
KERNEL(PRODUCT, 128)(OUT_ACT(c), IN(float, a), IN(float, b), int m, int n, int pieces, float alpha, ADDENDS) {
  DYNAMIC_SHARED(shared);
  const int rows_i = (m + 2 * WT - 1) / (2 * WT), rows_j = (n + 2 * WT - 1) / (2 * WT);
  const int group = BIDX / (RASTER * rows_j), in_group = BIDX % (RASTER * rows_j);
  const int height = min(rows_i - group * RASTER, RASTER);
  const int i0 = (group * RASTER + in_group % height) * 2 * WT, j0 = in_group / height * 2 * WT;
  const int warp = TID / 32, lane = TID % 32, wi = warp / 2 * WT, wj = warp % 2 * WT;
  const unsigned char *as = (const unsigned char *)(a_base + a_at), *bs = (const unsigned char *)(b_base + b_at);
  const int steps = pieces / PIECES, stage_size = 4 * WT * PIECES * 16;

  float acc[WT / 16][WT / 8][4];
  UNROLL for (int i = 0; i < WT / 16; i++) UNROLL for (int j = 0; j < WT / 8; j++) UNROLL for (int e = 0; e < 4; e++) acc[i][j][e] = 0;

  // The rows of a tile of a, then those of b; the last piece of the last row is
  // as aligned as the first.
  auto load = [&](int step) {
    unsigned char *to = shared + step % STAGES * stage_size;
    UNROLL for (int e = TID; e < 2 * WT * PIECES; e += 128) {
      const int r = e / PIECES, p = e % PIECES;
      const bool in_a = i0 + r < m, in_b = j0 + r < n;
      const offset_t at = step * PIECES + p;
      copy_piece(to + PIECE(r, p), as + ((in_a ? i0 + r : 0) * (offset_t)pieces + at) * 16, in_a);
      copy_piece(to + PIECE(2 * WT + r, p), bs + ((in_b ? j0 + r : 0) * (offset_t)pieces + at) * 16, in_b);
    }
  };
  UNROLL for (int s = 0; s < STAGES - 1; s++) {
    if (s < steps) load(s);
    end_copies();
  }
  ROLL for (int step = 0; step < steps; step++) {
    await_copies<STAGES - 2>();
    BARRIER(); // this step is there, and the one whose place the next copies take is done
    if (step + STAGES - 1 < steps) load(step + STAGES - 1);
    end_copies();
    const unsigned char *tile = shared + step % STAGES * stage_size;
    UNROLL for (int half = 0; half < PIECES; half += 2) {
      // Matrices of a: rows 0-7 and 8-15 of the first piece, then of the second; of
      // b: both pieces of rows 0-7, then of 8-15.
      unsigned x[WT / 16][4], y[WT / 16][4];
      UNROLL for (int i = 0; i < WT / 16; i++) load_matrices(x[i], tile + PIECE(wi + 16 * i + lane % 16, half + lane / 16));
      UNROLL for (int j = 0; j < WT / 16; j++)
        load_matrices(y[j], tile + PIECE(2 * WT + wj + 16 * j + lane / 16 * 8 + lane % 8, half + lane / 8 % 2));
      UNROLL for (int i = 0; i < WT / 16; i++)
        UNROLL for (int j = 0; j < WT / 8; j++) MMA(acc[i][j], x[i], y[j / 2] + j % 2 * 2);
    }
  }
  // The tile goes through shared memory, which it fills at most, so that neighbours
  // in memory are written by neighbouring threads.
  await_copies<0>();
  BARRIER();
  float *sums = (float *)shared;
  UNROLL for (int i = 0; i < WT / 16; i++) UNROLL for (int j = 0; j < WT / 8; j++) UNROLL for (int e = 0; e < 4; e++) {
    const int r = wi + 16 * i + lane / 4 + e / 2 * 8, s = wj + 8 * j + lane % 4 * 2 + e % 2;
    sums[r * 2 * WT + (s ^ (r & 7) * 8)] = acc[i][j][e];
  }
  BARRIER();
  ROLL for (int e = TID; e < 4 * WT * WT; e += 128) {
    const int r = e / (2 * WT), s = e % (2 * WT);
    if (i0 + r < m && j0 + s < n) {
      const offset_t at = (offset_t)(i0 + r) * n + j0 + s;
      FINISH(at, j0 + s, alpha * sums[r * 2 * WT + (s ^ (r & 7) * 8)]);
    }
  }
}
#undef MMA
#undef PRODUCT
