// Products on tensor cores: inputs in bfloat16 or TF32, sums in float32. CUDA from
// compute capability 8.0 alone.
//
// Both kinds of element come in 16-byte pieces, of 8 or of 4 elements, and two
// pieces are what one mma.sync takes of a row: m16n8k16 of bfloat16, m16n8k8 of
// TF32. So the two differ in the instruction alone.
#if !defined(__OPENCL_VERSION__) && (defined(FAKE_CUDA) || __CUDA_ARCH__ >= 800)

// Queues a copy of 16 aligned bytes to shared memory, or of zeros.
INLINE void copy_piece(void *to, const void *from, bool present) {
#ifdef FAKE_CUDA
  if (present) memcpy(to, from, 16);
  else memset(to, 0, 16);
#else
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :: "r"((unsigned)__cvta_generic_to_shared(to)), "l"(from), "r"(present ? 16 : 0) : "memory");
#endif
}

// Ends a group of copies; waits until all groups but the last n are there.
INLINE void end_copies() {
#ifndef FAKE_CUDA
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int n> INLINE void await_copies() {
#ifndef FAKE_CUDA
  asm volatile("cp.async.wait_group %0;" :: "n"(n) : "memory");
#endif
}

// Loads four 8×8 matrices of 16-bit elements, whose rows the threads point at.
INLINE void load_matrices(unsigned *d, const void *row) {
#ifdef FAKE_CUDA
  fake_ldmatrix_x4(d, row, 0);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"((unsigned)__cvta_generic_to_shared(row)) : "memory");
#endif
}
INLINE void load_transposed(unsigned *d, const void *row) {
#ifdef FAKE_CUDA
  fake_ldmatrix_x4(d, row, 1);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"((unsigned)__cvta_generic_to_shared(row)) : "memory");
#endif
}

// d += a·b for a [16×16] and b [16×8] (TF32: [16×8] and [8×8]), in fragments.
INLINE void mma_bf16(float *d, const unsigned *a, const unsigned *b) {
#ifdef FAKE_CUDA
  fake_mma_bf16(d, a, b);
#else
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
INLINE void mma_tf32(float *d, const unsigned *a, const unsigned *b) {
#ifdef FAKE_CUDA
  fake_mma_tf32(d, a, b);
#else
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

#ifdef FAKE_CUDA
#  define __align__(n) __attribute__((aligned(n)))
#  define DYNAMIC_SHARED(name) unsigned char *name = (unsigned char *)fake_dynamic_shared()
#else
#  define DYNAMIC_SHARED(name) extern __shared__ __align__(1024) unsigned char name[]
#endif

// Tiles in shared memory have rows of 4 pieces. Which piece lies where depends on
// the row, so that the 8 rows of a matrix lie in different banks.
#define PIECES 4
#define PIECE(row, piece) (((row) * PIECES + ((piece) ^ ((row) >> 1 & 3))) * 16)
#define STAGES 4
#define RASTER 8 // tiles of a are done in groups of so many rows: they share b in the cache

#define WT 64
#define MMA mma_bf16
#define PRODUCT product_bf16
#include "product_mma.cu"
#define MMA mma_tf32
#define PRODUCT product_tf32
#include "product_mma.cu"
#undef WT
#define WT 32
#define MMA mma_bf16
#define PRODUCT product_bf16_small
#include "product_mma.cu"
#define MMA mma_tf32
#define PRODUCT product_tf32_small
#include "product_mma.cu"
#undef WT

// Attention with products in bfloat16: as in attention.cu, with tiles of AM rows or
// keys, 16 for each of four warps, against blocks of AN.

// Two floats, rounded, the first in the lower half.
INLINE unsigned round_pair(float first, float second) {
#ifdef FAKE_CUDA
  return to_bf16(first) | (unsigned)to_bf16(second) << 16;
#else
  unsigned r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(second), "f"(first));
  return r;
#endif
}

#ifdef FAKE_CUDA
#  define EXP2(x) exp2f(x)
#else
INLINE float exp2_fast(float x) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
#  define EXP2(x) exp2_fast(x)
#endif
#define LOG2E 1.44269504f

// The largest, and the sum, of the four threads that have a row of a fragment.
INLINE float quad_max(float v) {
  v = MAX(v, __shfl_xor_sync(0xffffffffu, v, 1));
  return MAX(v, __shfl_xor_sync(0xffffffffu, v, 2));
}
INLINE float quad_sum(float v) {
  v += __shfl_xor_sync(0xffffffffu, v, 1);
  return v + __shfl_xor_sync(0xffffffffu, v, 2);
}

#define D 64
#include "attend_mma.cu"
#define D 128
#include "attend_mma.cu"

#endif
