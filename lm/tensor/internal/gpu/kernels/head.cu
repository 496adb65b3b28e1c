// The head: log-probs, entropies and their gradients of rows of logits.
#define HT 256

// stats [rows×3] receives the largest logit, log Σ exp(inv_temp·(z − largest)),
// and the entropy.
KERNEL(log_prob, HT)(OUT(float, logp), OUT(float, entropy), OUT(float, stats), IN(float, logits), IN(int, targets),
                     int vocab, float inv_temp, int want_entropy) {
  SHARED float scratch[HT];
  USE_OUT(float, logp); USE_OUT(float, entropy); USE_OUT(float, stats); USE_IN(float, logits); USE_IN(int, targets);
  const int row = BIDX;
  GLOBAL const float *z = logits + (offset_t)row * vocab;
  float top = NEG_INF;
  for (int j = TID; j < vocab; j += HT) top = MAX(top, z[j]);
  REDUCE(MAX, HT, top, scratch);
  float sum = 0, weighted = 0;
  for (int j = TID; j < vocab; j += HT) {
    const float t = inv_temp * (z[j] - top), e = EXP(t);
    sum += e;
    if (e > 0) weighted = FMA(e, t, weighted);
  }
  REDUCE(PLUS, HT, sum, scratch);
  REDUCE(PLUS, HT, weighted, scratch);
  if (TID == 0) {
    const float log_sum = LOG(sum), h = log_sum - weighted / sum;
    stats[3 * row] = top; stats[3 * row + 1] = log_sum; stats[3 * row + 2] = h;
    logp[row] = inv_temp * (z[targets[row]] - top) - log_sum;
    if (want_entropy) entropy[row] = h;
  }
}

// Overwrites logits with the gradient: with p the distribution and h its entropy,
// ∂logp/∂z_j = inv_temp·(1[j = target] − p_j) and ∂h/∂z_j = −inv_temp·p_j·(log p_j + h).
KERNEL(log_prob_grad, HT)(OUT(float, logits), IN(float, dlogp), IN(float, dentropy), IN(float, stats), IN(int, targets),
                          int vocab, float inv_temp, int has_dentropy) {
  USE_OUT(float, logits); USE_IN(float, dlogp); USE_IN(float, dentropy); USE_IN(float, stats); USE_IN(int, targets);
  const int row = BIDX;
  GLOBAL float *z = logits + (offset_t)row * vocab;
  const float top = stats[3 * row], log_sum = stats[3 * row + 1], h = stats[3 * row + 2];
  const float dl = dlogp[row], dh = has_dentropy ? dentropy[row] : 0;
  const int target = targets[row];
  for (int j = TID; j < vocab; j += HT) {
    const float l = inv_temp * (z[j] - top) - log_sum, p = EXP(l);
    float d = j == target ? dl - dl * p : -dl * p;
    if (p > 0) d -= dh * p * (l + h);
    z[j] = inv_temp * d;
  }
}

// ids [rows×k] are the indices of the k largest of the first among elements of each row
// of x, in falling order, of equal ones the lower first. A thread remembers the largest of its share
// that was not taken, and only the one whose element is taken looks for its next: a
// row is read once, and a thread's share of it for each of k.
KERNEL(top_k, HT)(OUT(float, ids), IN(float, x), int cols, int among, int k) {
  SHARED float values[HT];
  SHARED int places[HT];
  USE_OUT(float, ids); USE_IN(float, x);
  GLOBAL const float *z = x + (offset_t)BIDX * cols;
  float best = 0;
  int at = -1, search = 1; // at is cols if nothing is left
  ROLL for (int i = 0; i < k; i++) {
    if (search) {
      const float last = best;
      const int last_at = at;
      at = cols;
      for (int j = TID; j < among; j += HT) {
        const float v = z[j];
        const int left = last_at < 0 ? v == v : v < last || (v == last && j > last_at);
        if (left && (at == cols || v > best)) { best = v; at = j; }
      }
    }
    values[TID] = best;
    places[TID] = at;
    BARRIER();
    ROLL for (int h = HT / 2; h > 0; h /= 2) {
      if (TID < h && places[TID + h] < cols) {
        const float mine = values[TID], other = values[TID + h];
        if (places[TID] == cols || other > mine || (other == mine && places[TID + h] < places[TID])) {
          values[TID] = other;
          places[TID] = places[TID + h];
        }
      }
      BARRIER();
    }
    const int taken = places[0];
    if (TID == 0) ids[(offset_t)BIDX * k + i] = taken == cols ? -1 : taken;
    search = taken == at && at < cols;
    BARRIER();
  }
}
