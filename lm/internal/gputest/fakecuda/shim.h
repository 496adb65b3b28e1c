// CUDA C++ on the CPU, for tests: what the kernels need of the language, for
// g++. A block's threads are fibers of one OS thread, and blocks run one after
// the other, so __shared__ is static. See fakecuda.cpp.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

struct fake_dim3 { unsigned x, y, z; };
extern "C" fake_dim3 fake_threadIdx, fake_blockIdx, fake_blockDim, fake_gridDim;
#define threadIdx fake_threadIdx
#define blockIdx fake_blockIdx
#define blockDim fake_blockDim
#define gridDim fake_gridDim

#ifndef __global__ // gputest looks for kernels with a definition of its own
#define __global__
#endif
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)

// Dynamic shared memory of the launch, aligned to 1024 bytes.
extern "C" void *fake_dynamic_shared();

extern "C" void fake_syncthreads();
#define __syncthreads fake_syncthreads

// fake_exchange shows n bytes of each thread, at most 64, to the threads of its
// warp; fake_peer is what the thread of a lane showed. fake_syncwarp ends the
// exchange: without it, the next one would overwrite what is read here.
extern "C" void fake_exchange(const void *mine, size_t n);
extern "C" const void *fake_peer(unsigned lane);
extern "C" void fake_syncwarp();
static inline void __syncwarp(unsigned = 0xffffffffu) { fake_syncwarp(); }

template <class T> static inline T fake_shfl(T v, unsigned lane) {
  fake_exchange(&v, sizeof v);
  memcpy(&v, fake_peer(lane), sizeof v);
  fake_syncwarp();
  return v;
}
template <class T> static inline T __shfl_sync(unsigned, T v, int lane) { return fake_shfl(v, lane % 32); }
template <class T> static inline T __shfl_xor_sync(unsigned, T v, int mask) { return fake_shfl(v, (threadIdx.x % 32) ^ mask); }
template <class T> static inline T __shfl_down_sync(unsigned, T v, int by) {
  const unsigned lane = threadIdx.x % 32;
  return fake_shfl(v, lane + by < 32 ? lane + by : lane);
}

// The tensor cores' products d += a·b, each thread with its fragments as the PTX
// ISA manual lays them out for mma.sync: m16n8k16 of bf16, m16n8k8 of TF32.
extern "C" void fake_mma_bf16(float *d, const unsigned *a, const unsigned *b);
extern "C" void fake_mma_tf32(float *d, const unsigned *a, const unsigned *b);
// ldmatrix.x4, as it is or with .trans: each thread passes a row's address.
extern "C" void fake_ldmatrix_x4(unsigned *d, const void *row, int trans);

static inline unsigned __float_as_uint(float f) { unsigned u; memcpy(&u, &f, 4); return u; }
static inline float __uint_as_float(unsigned u) { float f; memcpy(&f, &u, 4); return f; }
static inline int __float_as_int(float f) { int i; memcpy(&i, &f, 4); return i; }
static inline float __int_as_float(int i) { float f; memcpy(&f, &i, 4); return f; }
static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }
