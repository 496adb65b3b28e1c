// Drawing tokens from rows of logits: temperature, top-k, top-p.
//
// Which tokens top-k and top-p keep is a threshold: all with larger logits, and
// of those that are equal to it the first few. The threshold is found four bits at
// a time, from the most significant: a histogram of the 16 possible digits, over
// the tokens that agree so far, says in which of them the rest is used up.
#define DIGITS 16

// Unsigned numbers in the order of the floats; −0 is 0.
INLINE word_t to_order(float f) {
  const word_t u = TO_BITS(f + 0.0f);
  return u & 0x80000000u ? ~u : u | 0x80000000u;
}
INLINE float from_order(word_t k) { return FROM_BITS(k & 0x80000000u ? k & 0x7fffffffu : ~k); }

// The tokens above a logit and count more that equal it, in the order of ids.
typedef struct { word_t at; float count; } threshold_t;

// Returns the threshold of the most likely tokens whose weights reach goal, of
// those within floor. A token weighs 1 if scale < 0, and else its probability up
// to a factor, exp(scale·(z − top)).
#define WEIGHT(z) (scale < 0 ? 1 : EXP(scale * ((z) - top)))
INLINE threshold_t threshold(GLOBAL const float *z, int vocab, LOCAL float *hist, threshold_t floor_, float goal,
                             float scale, float top) {
  word_t found = 0;
  float above = 0;
  ROLL for (int shift = 28; shift >= 0; shift -= 4) {
    const int first = shift == 28; // shifting by 32 is undefined
    ROLL for (int d = 0; d < DIGITS; d++) hist[d * HT + TID] = 0;
    for (int j = TID; j < vocab; j += HT) {
      const word_t k = to_order(z[j]);
      if (k > floor_.at && (first || (k ^ found) >> (shift + 4 & 31) == 0))
        hist[(k >> shift & 15u) * HT + TID] += WEIGHT(z[j]);
    }
    BARRIER();
    ROLL for (int h = HT / 2; h > 0; h /= 2) {
      ROLL for (int e = TID; e < DIGITS * h; e += HT) hist[e / h * HT + e % h] += hist[e / h * HT + e % h + h];
      BARRIER();
    }
    int digit = 0;
    float before = above;
    const int with_floor = first || (floor_.at ^ found) >> (shift + 4 & 31) == 0;
    ROLL for (int d = DIGITS - 1; d >= 0; d--) {
      float w = hist[d * HT];
      if (with_floor && (int)(floor_.at >> shift & 15u) == d && floor_.count > 0) w += floor_.count * WEIGHT(from_order(floor_.at));
      if (w > 0) {
        digit = d;
        before = above;
        above += w;
        if (above >= goal) break;
      }
    }
    above = before;
    found |= (word_t)digit << shift;
    BARRIER();
  }
  threshold_t t;
  t.at = found;
  const float w = WEIGHT(from_order(found)), n = CEIL((goal - above) / w);
  t.count = MAX(n, 1);
  if (found == floor_.at) t.count = MIN(t.count, floor_.count);
  return t;
}

// Draw i is draws[5i] = row, scale (1/temperature, or 0 for the most likely
// token), top-k, top-p and random number; the reals as bits. drawn [·×3] receives
// the token or −1, its log-prob with the scale and with 1.
KERNEL(sample, HT)(OUT(float, drawn), IN(float, logits), IN(int, draws), int vocab) {
  SHARED float hist[DIGITS * HT], scratch[HT];
  USE_OUT(float, drawn); USE_IN(float, logits); USE_IN(int, draws);
  GLOBAL const int *draw = draws + 5 * BIDX;
  GLOBAL const float *z = logits + (offset_t)draw[0] * vocab;
  const float scale = FROM_BITS((word_t)draw[1]), p = FROM_BITS((word_t)draw[3]), u = FROM_BITS((word_t)draw[4]);
  const int k = draw[2];

  float top = NEG_INF, bad = 0;
  for (int j = TID; j < vocab; j += HT) {
    const word_t bits = TO_BITS(z[j]);
    if ((bits & 0x7fffffffu) > 0x7f800000u || bits == 0x7f800000u) bad = 1;
    else top = MAX(top, z[j]);
  }
  REDUCE(MAX, HT, top, scratch);
  REDUCE(MAX, HT, bad, scratch);
  if (bad > 0 || top == NEG_INF) { // the same for all threads
    if (TID == 0) { drawn[3 * BIDX] = -1; drawn[3 * BIDX + 1] = 0; drawn[3 * BIDX + 2] = 0; }
    return;
  }
  float sum = 0, sum1 = 0, argmax = (float)vocab;
  for (int j = TID; j < vocab; j += HT) {
    sum += EXP(scale * (z[j] - top));
    sum1 += EXP(z[j] - top);
    if (z[j] == top) argmax = MIN(argmax, (float)j);
  }
  REDUCE(PLUS, HT, sum, scratch);
  REDUCE(PLUS, HT, sum1, scratch);
  REDUCE(MIN, HT, argmax, scratch);
  if (scale == 0) {
    if (TID == 0) { drawn[3 * BIDX] = argmax; drawn[3 * BIDX + 1] = drawn[3 * BIDX + 2] = -LOG(sum1); }
    return;
  }

  threshold_t kept; // all
  kept.at = 0;
  kept.count = 0;
  if (k > 0 && k < vocab) kept = threshold(z, vocab, hist, kept, (float)k, -1, top);
  if (p > 0 && p < 1) {
    float mass = 0;
    for (int j = TID; j < vocab; j += HT)
      if (to_order(z[j]) > kept.at) mass += EXP(scale * (z[j] - top));
    REDUCE(PLUS, HT, mass, scratch);
    if (kept.count > 0) mass += kept.count * EXP(scale * (from_order(kept.at) - top));
    kept = threshold(z, vocab, hist, kept, p * mass, scale, top);
  }

  // A thread does consecutive ids. First how many of the tokens at the threshold
  // there are before them, then how much mass.
  const int share = (vocab + HT - 1) / HT, from = SMALLER(TID * share, vocab), to = SMALLER(from + share, vocab);
  float equal = 0;
  for (int j = from; j < to; j++) equal += to_order(z[j]) == kept.at;
  hist[TID] = equal;
  BARRIER();
  float seen = 0;
  ROLL for (int i = 0; i < TID; i++) seen += hist[i];
  const float seen_before = seen;
  float mass = 0;
  for (int j = from; j < to; j++) {
    const word_t key = to_order(z[j]);
    if (key > kept.at || (key == kept.at && seen++ < kept.count)) mass += EXP(scale * (z[j] - top));
  }
  hist[HT + TID] = mass;
  BARRIER();
  float total = 0;
  ROLL for (int i = 0; i < HT; i++) total += hist[HT + i];
  // The thread in whose share the sum exceeds u·total; if rounding leaves it
  // below, the last that has any.
  int chosen = 0;
  float before = 0, sum_before = 0;
  ROLL for (int i = 0; i < HT; i++) {
    const float w = hist[HT + i];
    if (w > 0) {
      chosen = i;
      before = sum_before;
      sum_before += w;
      if (sum_before > u * total) break;
    }
  }
  if (TID == chosen) {
    int token = 0;
    float reached = 0;
    seen = seen_before;
    for (int j = from; j < to; j++) {
      const word_t key = to_order(z[j]);
      if (key > kept.at || (key == kept.at && seen++ < kept.count)) {
        const float w = EXP(scale * (z[j] - top));
        if (w > 0) {
          token = j;
          reached += w;
          if (before + reached > u * total) break;
        }
      }
    }
    drawn[3 * BIDX] = (float)token;
    drawn[3 * BIDX + 1] = scale * (z[token] - top) - LOG(sum);
    drawn[3 * BIDX + 2] = z[token] - top - LOG(sum1);
  }
}
