// The functions of cuBLASLt that package cuda calls, for tests: they check what
// they are given and multiply on the CPU, in the memory of the fake libcuda.
// Written from NVIDIA's description of cublasLt.h.
#include <cstdint>
#include <cstring>

namespace {
enum { success = 0, invalid = 7, unsupported = 15 };
enum { real32F = 0, realBF16 = 14, compute32F = 68, computeTF32 = 77 };
struct desc { int compute, scale, trans_a, trans_b; };
struct layout { int type; uint64_t rows, cols; int64_t ld; };
struct preference { uint64_t workspace; uint32_t reductions, alignment[4]; };
struct result { uint64_t algo[8]; size_t workspace; int state; float waves; int reserved[4]; };
static_assert(sizeof(result) == 96, "");
constexpr uint64_t mark = 0x616c676f; // of an algorithm that the heuristic gave

template <class T> T *host(const void *p) { return (T *)((uint64_t)p & ~0x00d0000000000000ull); }
float load(const layout &l, const void *base, uint64_t row, uint64_t col) {
  const uint64_t at = row + col * l.ld; // column-major
  float f;
  uint32_t u = l.type == realBF16 ? (uint32_t)host<uint16_t>(base)[at] << 16 : host<uint32_t>(base)[at];
  memcpy(&f, &u, 4);
  return f;
}
void store(const layout &l, void *base, uint64_t row, uint64_t col, float f) {
  const uint64_t at = row + col * l.ld;
  uint32_t u;
  memcpy(&u, &f, 4);
  if (l.type == realBF16) host<uint16_t>(base)[at] = (u + 0x7fff + (u >> 16 & 1)) >> 16;
  else host<uint32_t>(base)[at] = u;
}
float tf32(float f) { // the lower bits are not looked at
  uint32_t u;
  memcpy(&u, &f, 4);
  u &= 0xffffe000u;
  memcpy(&f, &u, 4);
  return f;
}
bool fits(const desc &d, const layout &a, const layout &b, const layout &c) {
  const uint64_t m = d.trans_a ? a.cols : a.rows, ka = d.trans_a ? a.rows : a.cols;
  const uint64_t kb = d.trans_b ? b.cols : b.rows, n = d.trans_b ? b.rows : b.cols;
  return ka == kb && c.rows == m && c.cols == n && a.ld >= (int64_t)a.rows && b.ld >= (int64_t)b.rows && c.ld >= (int64_t)c.rows &&
         a.type == b.type && (a.type == realBF16 ? d.compute == compute32F : d.compute == computeTF32);
}
} // namespace

#define API extern "C" __attribute__((visibility("default"))) int
API cublasLtCreate(void **h) { *h = (void *)4; return success; }
API cublasLtDestroy(void *) { return success; }
API cublasLtMatmulDescCreate(desc **d, int compute, int scale) {
  if (scale != real32F) return invalid;
  *d = new desc{compute, scale, 0, 0};
  return success;
}
API cublasLtMatmulDescDestroy(desc *d) { delete d; return success; }
API cublasLtMatmulDescSetAttribute(desc *d, int attribute, const void *p, size_t n) {
  if (n != 4 || (attribute != 3 && attribute != 4)) return invalid;
  memcpy(attribute == 3 ? &d->trans_a : &d->trans_b, p, 4);
  return success;
}
API cublasLtMatrixLayoutCreate(layout **l, int type, uint64_t rows, uint64_t cols, int64_t ld) {
  *l = new layout{type, rows, cols, ld};
  return success;
}
API cublasLtMatrixLayoutDestroy(layout *l) { delete l; return success; }
API cublasLtMatmulPreferenceCreate(preference **p) { *p = new preference{0, 7, {256, 256, 256, 256}}; return success; }
API cublasLtMatmulPreferenceDestroy(preference *p) { delete p; return success; }
API cublasLtMatmulPreferenceSetAttribute(preference *p, int attribute, const void *v, size_t n) {
  if (attribute == 1 && n == 8) memcpy(&p->workspace, v, n);
  else if (attribute == 3 && n == 4) memcpy(&p->reductions, v, n);
  else if (attribute >= 5 && attribute <= 8 && n == 4) memcpy(&p->alignment[attribute - 5], v, n);
  else return invalid;
  return success;
}
API cublasLtMatmulAlgoGetHeuristic(void *, desc *d, layout *a, layout *b, layout *c, layout *out, preference *p, int want, result *r, int *found) {
  *found = 0;
  if (want < 1 || out != c || !fits(*d, *a, *b, *c)) return invalid;
  if (p->reductions & 1) return unsupported; // in place, whose order may vary
  memset(r, 0, sizeof *r);
  r->algo[0] = mark;
  r->algo[1] = p->alignment[0] << 16 | p->alignment[2];
  r->workspace = p->workspace;
  *found = 1;
  return success;
}
API cublasLtMatmul(void *, desc *d, const float *alpha, const void *a, layout *la, const void *b, layout *lb, const float *beta,
                   const void *c, layout *lc, void *out, layout *lout, const uint64_t *algo, void *workspace, size_t workspace_size, void *) {
  if (algo[0] != mark || !workspace || workspace_size < (32 << 20) || c != out || lc != lout || !fits(*d, *la, *lb, *lc)) return invalid;
  const uint64_t aligned = algo[1] >> 16, aligned_c = algo[1] & 0xffff;
  if ((uint64_t)a % aligned || (uint64_t)b % aligned || (uint64_t)c % aligned_c) return invalid;
  const uint64_t k = d->trans_a ? la->rows : la->cols;
  for (uint64_t j = 0; j < lc->cols; j++)
    for (uint64_t i = 0; i < lc->rows; i++) {
      float sum = 0;
      for (uint64_t p = 0; p < k; p++) {
        float x = d->trans_a ? load(*la, a, p, i) : load(*la, a, i, p), y = d->trans_b ? load(*lb, b, j, p) : load(*lb, b, p, j);
        if (d->compute == computeTF32) x = tf32(x), y = tf32(y);
        sum += x * y;
      }
      store(*lc, out, i, j, *beta == 0 ? *alpha * sum : *alpha * sum + *beta * load(*lc, c, i, j));
    }
  return success;
}
