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

// Draw i is draws[5i] = row, scale (1/temperature, or 0 for the most likely
// token), top-k, top-p and random number; the reals as bits. drawn [·×3] receives
// the token or −1, its log-prob with the scale and with 1.
KERNEL(sample, HT)(OUT(float, drawn), IN(float, logits), IN(int, draws), int vocab) {
  SHARED float hist[DIGITS * HT], scratch[HT], at[4];
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
  const int none = bad > 0 || top == NEG_INF, draws_one = !none && scale > 0;
  float sum = 0, sum1 = 0, argmax = (float)vocab;
  for (int j = TID; j < vocab; j += HT) {
    sum += EXP(scale * (z[j] - top));
    sum1 += EXP(z[j] - top);
    if (z[j] == top) argmax = MIN(argmax, (float)j);
  }
  REDUCE(PLUS, HT, sum, scratch);
  REDUCE(PLUS, HT, sum1, scratch);
  REDUCE(MIN, HT, argmax, scratch);

  // Kept are the tokens above at[0], and at[1] more that equal it, by their ids:
  // at first all, then those that top-k keeps, then those of them that top-p keeps.
  // A token weighs 1, then its probability up to a factor. All barriers are outside
  // of branches and functions: PoCL gets others wrong.
  if (TID == 0) { at[0] = NEG_INF; at[1] = (float)vocab; }
  BARRIER();
  ROLL for (int part = 0; part < 2; part++) {
    const int search = draws_one && (part == 0 ? k > 0 && k < vocab : p > 0 && p < 1);
    const word_t floor_key = to_order(at[0]);
    const float floor_weight = part == 0 ? at[1] : at[1] * EXP(scale * (at[0] - top));
    float goal = 0;
    if (search && part == 1)
      for (int j = TID; j < vocab; j += HT)
        if (to_order(z[j]) > floor_key) goal += EXP(scale * (z[j] - top));
    REDUCE(PLUS, HT, goal, scratch);
    goal = part == 0 ? (float)k : p * (goal + floor_weight);
    word_t found = 0;
    float above = 0; // the weight of what is above found
    ROLL for (int shift = search ? 28 : -4; shift >= 0; shift -= 4) {
      const word_t agree = shift == 28 ? 0 : 0xffffffffu << (shift + 4); // bits that were found
      ROLL for (int d = 0; d < DIGITS; d++) hist[d * HT + TID] = 0;
      for (int j = TID; j < vocab; j += HT) {
        const word_t key = to_order(z[j]);
        if (key > floor_key && ((key ^ found) & agree) == 0)
          hist[(key >> shift & 15u) * HT + TID] += part == 0 ? 1 : EXP(scale * (z[j] - top));
      }
      BARRIER();
      ROLL for (int h = HT / 2; h > 0; h /= 2) {
        ROLL for (int e = TID; e < DIGITS * h; e += HT) hist[e / h * HT + e % h] += hist[e / h * HT + e % h + h];
        BARRIER();
      }
      if (TID == 0) {
        if (((floor_key ^ found) & agree) == 0) hist[(floor_key >> shift & 15u) * HT] += floor_weight;
        at[2] = 0;
        at[3] = above;
        float sum = above;
        ROLL for (int d = DIGITS - 1; d >= 0 && sum < goal; d--) {
          if (hist[d * HT] > 0) {
            at[2] = (float)d;
            at[3] = sum;
            sum += hist[d * HT];
          }
        }
      }
      BARRIER();
      found |= (word_t)at[2] << shift;
      above = at[3];
    }
    if (TID == 0 && search) {
      const float value = from_order(found), weight = part == 0 ? 1 : EXP(scale * (value - top));
      const float count = MAX(CEIL((goal - above) / weight), 1.0f);
      at[1] = found == floor_key ? MIN(count, at[1]) : count;
      at[0] = value;
    }
    BARRIER();
  }
  const float kept = at[0], equals = at[1];

  // A thread does consecutive ids. First how many of the tokens at the threshold
  // there are before them, then how much mass.
  const int share = (vocab + HT - 1) / HT, from = SMALLER(TID * share, vocab), to = SMALLER(from + share, vocab);
  float equal = 0;
  for (int j = from; j < to; j++) equal += z[j] == kept;
  hist[TID] = equal;
  BARRIER();
  float seen = 0;
  ROLL for (int i = 0; i < TID; i++) seen += hist[i];
  const float seen_before = seen;
  float mass = 0;
  for (int j = from; j < to; j++) {
    if (z[j] > kept || (z[j] == kept && seen++ < equals)) mass += EXP(scale * (z[j] - top));
  }
  hist[HT + TID] = mass;
  BARRIER();
  // The thread in whose share the sum exceeds u·total; if rounding leaves it
  // below, the last that has any.
  if (TID == 0) {
    float total = 0, reached = 0;
    ROLL for (int i = 0; i < HT; i++) total += hist[HT + i];
    ROLL for (int i = 0; i < HT; i++) {
      const float w = hist[HT + i];
      if (w > 0) {
        scratch[0] = (float)i;
        scratch[1] = reached;
        reached += w;
        if (reached > u * total) break;
      }
    }
    scratch[2] = u * total;
  }
  BARRIER();
  const float before = scratch[1], goal = scratch[2];
  if (TID == 0 && !draws_one) {
    drawn[3 * BIDX] = none ? -1 : argmax;
    drawn[3 * BIDX + 1] = drawn[3 * BIDX + 2] = none ? 0 : -LOG(sum1);
  }
  if (draws_one && TID == (int)scratch[0]) {
    int token = 0;
    float reached = 0;
    seen = seen_before;
    for (int j = from; j < to; j++) {
      if (z[j] > kept || (z[j] == kept && seen++ < equals)) {
        const float w = EXP(scale * (z[j] - top));
        if (w > 0) {
          token = j;
          reached += w;
          if (before + reached > goal) break;
        }
      }
    }
    drawn[3 * BIDX] = (float)token;
    drawn[3 * BIDX + 1] = scale * (z[token] - top) - LOG(sum);
    drawn[3 * BIDX + 2] = z[token] - top - LOG(sum1);
  }
}
