// A libcuda for tests on machines without a GPU: the driver API's calls that
// package cuda makes, with kernels that g++ compiled from the same source.
//
// "Device" pointers are host pointers with a tag in the upper bits, so that a
// host that dereferences one crashes, and a kernel that gets an untagged one is
// refused. Memory comes with NaNs in it. A kernel that reads or writes where no
// memory is ends with error 700, which sticks, as on a device.
//
// A block's threads are fibers. They run one after the other, each up to the
// next barrier, in one of several orders: a kernel that lacks a barrier differs
// between orders. A barrier that not all threads of a block reach, or that some
// reach in a warp's exchange, is error 719.
//
// What a test sets is in the functions fakecuda_… at the end.
//
// gputest compiles it with the kernels' folder on the include path, FAKE_CUDA
// defined, and KERNELS a list of K(name).
#include "kernels.cu"
#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <sys/mman.h>
#include <type_traits>
#include <utility>
#include <vector>
#ifndef __x86_64__
#include <ucontext.h>
#endif

extern "C" { fake_dim3 fake_threadIdx, fake_blockIdx, fake_blockDim, fake_gridDim; }

// --- fibers
namespace {
enum state { running, at_warp, at_block, done };
struct fiber {
#ifdef __x86_64__
  void *sp;
#else
  ucontext_t ctx;
#endif
  state is;
  fake_dim3 tid;
  alignas(16) char shown[64];
};
std::vector<fiber> fibers;
char *stacks;
constexpr size_t stack_size = 64 << 10, max_threads = 1024;
size_t current;
int order; // 0: by number; 1: by falling number; 2: odd ones first
void (*entry)(void **);
void **entry_params;
alignas(1024) char dynamic_shared[256 << 10];

#ifdef __x86_64__
void *scheduler;
extern "C" void fake_switch(void **from, void *to);
asm(R"(
.text
.hidden fake_switch
.globl fake_switch
fake_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
void to_scheduler(fiber &f) { fake_switch(&f.sp, scheduler); }
void to_fiber(fiber &f) { fake_switch(&scheduler, f.sp); }
#else
ucontext_t scheduler;
void to_scheduler(fiber &f) { swapcontext(&f.ctx, &scheduler); }
void to_fiber(fiber &f) { swapcontext(&scheduler, &f.ctx); }
#endif

void start() {
  entry(entry_params);
  fibers[current].is = done;
  to_scheduler(fibers[current]);
  abort();
}
void wait(state s) {
  fiber &f = fibers[current];
  f.is = s;
  to_scheduler(f);
}

// run_block runs a block of n threads. It returns 0, or an error of CUDA.
int run_block(size_t n) {
  if (!stacks) {
    stacks = (char *)mmap(nullptr, max_threads * stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    fibers.resize(max_threads);
  }
  for (size_t i = 0; i < n; i++) {
    fiber &f = fibers[i];
    f.is = running;
    f.tid = {(unsigned)i, 0, 0};
    char *top = stacks + (i + 1) * stack_size;
#ifdef __x86_64__
    void **sp = (void **)top;
    *--sp = nullptr; // a function starts with the stack 8 off
    *--sp = (void *)start;
    for (int r = 0; r < 6; r++) *--sp = nullptr;
    f.sp = sp;
#else
    getcontext(&f.ctx);
    f.ctx.uc_stack.ss_sp = top - stack_size;
    f.ctx.uc_stack.ss_size = stack_size;
    f.ctx.uc_link = &scheduler;
    makecontext(&f.ctx, start, 0);
#endif
  }
  for (;;) {
    for (size_t j = 0; j < n; j++) {
      const size_t i = order == 0 ? j : order == 1 ? n - 1 - j : j < n / 2 ? 2 * j + 1 : 2 * (j - n / 2);
      if (fibers[i].is != running) continue;
      current = i;
      fake_threadIdx = fibers[i].tid;
      to_fiber(fibers[i]);
    }
    size_t ended = 0, waiting = 0;
    bool released = false;
    for (size_t w = 0; w < n; w += 32) {
      const size_t end = w + 32 < n ? w + 32 : n;
      size_t at = 0;
      for (size_t i = w; i < end; i++) {
        at += fibers[i].is == at_warp;
        ended += fibers[i].is == done;
        waiting += fibers[i].is == at_block;
      }
      if (at == end - w) {
        released = true;
        for (size_t i = w; i < end; i++) fibers[i].is = running;
      }
    }
    if (released) continue;
    if (ended == n) return 0;
    if (waiting != n) {
      fprintf(stderr, "fakecuda: block (%u, %u, %u): of %zu threads, %zu ended and %zu are at a barrier\n",
              fake_blockIdx.x, fake_blockIdx.y, fake_blockIdx.z, n, ended, waiting);
      return 719; // CUDA_ERROR_LAUNCH_FAILED
    }
    for (size_t i = 0; i < n; i++) fibers[i].is = running;
  }
}
} // namespace

extern "C" void fake_syncthreads() { wait(at_block); }
extern "C" void fake_syncwarp() { wait(at_warp); }
extern "C" void *fake_dynamic_shared() { return dynamic_shared; }
extern "C" void fake_exchange(const void *mine, size_t n) {
  memcpy(fibers[current].shown, mine, n);
  wait(at_warp);
}
extern "C" const void *fake_peer(unsigned lane) { return fibers[current / 32 * 32 + lane].shown; }

namespace {
float half_of(unsigned w, size_t high) { return __uint_as_float(high ? w & 0xffff0000u : w << 16); }
struct fragments { unsigned a[4], b[2]; };
const fragments &peer(size_t lane) { return *(const fragments *)fake_peer(lane); }
} // namespace

extern "C" void fake_mma_bf16(float *d, const unsigned *a, const unsigned *b) {
  const size_t lane = current % 32, group = lane / 4, pair = lane % 4 * 2;
  fragments mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  fake_exchange(&mine, sizeof mine);
  for (size_t e = 0; e < 4; e++) {
    const size_t row = group + e / 2 * 8, col = pair + e % 2;
    float sum = d[e];
    for (size_t k = 0; k < 16; k++)
      sum += half_of(peer(row % 8 * 4 + k % 8 / 2).a[row / 8 + k / 8 * 2], k % 2) * half_of(peer(col * 4 + k % 8 / 2).b[k / 8], k % 2);
    d[e] = sum;
  }
  fake_syncwarp();
}
extern "C" void fake_mma_tf32(float *d, const unsigned *a, const unsigned *b) {
  const size_t lane = current % 32, group = lane / 4, pair = lane % 4 * 2;
  fragments mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  fake_exchange(&mine, sizeof mine);
  auto cut = [](unsigned u) { return __uint_as_float(u & 0xffffe000u); }; // the lower bits are not looked at
  for (size_t e = 0; e < 4; e++) {
    const size_t row = group + e / 2 * 8, col = pair + e % 2;
    float sum = d[e];
    for (size_t k = 0; k < 8; k++)
      sum += cut(peer(row % 8 * 4 + k % 4).a[row / 8 + k / 4 * 2]) * cut(peer(col * 4 + k % 4).b[k / 4]);
    d[e] = sum;
  }
  fake_syncwarp();
}
extern "C" void fake_ldmatrix_x4(unsigned *d, const void *row, int trans) {
  const size_t lane = current % 32;
  fake_exchange(&row, sizeof row);
  for (size_t m = 0; m < 4; m++) {
    uint16_t v[2];
    for (size_t e = 0; e < 2; e++) {
      const size_t r = trans ? lane % 4 * 2 + e : lane / 4, c = trans ? lane / 4 : lane % 4 * 2 + e;
      const uint16_t *p = *(const uint16_t *const *)fake_peer(8 * m + r);
      v[e] = p[c];
    }
    d[m] = v[0] | (unsigned)v[1] << 16;
  }
  fake_syncwarp();
}

// --- the kernels, by name, with their parameters' sizes
namespace {
struct kernel { const char *name; void (*run)(void **); std::vector<size_t> sizes; std::vector<bool> pointer; };
template <auto F> struct unpack;
template <class... A, void (*F)(A...)> struct unpack<F> {
  template <size_t... I> static void call(void **p, std::index_sequence<I...>) { F(*static_cast<A *>(p[I])...); }
  static void run(void **p) { call(p, std::index_sequence_for<A...>{}); }
  static kernel of(const char *n) { return {n, run, {sizeof(A)...}, {std::is_pointer_v<A>...}}; }
};
#define K(name) unpack<name>::of(#name)
kernel kernels[] = {KERNELS};

// --- the state of the fake
std::mutex mu; // of all below, and of the fibers
constexpr uint64_t tag = 0x00d0000000000000ull;
struct memory { size_t bytes; int device; };
std::map<uint64_t, memory> allocations; // by tagged address
int sticky;                             // error, of all devices
uint64_t limit;                         // bytes on each device, 0 = none
int capability = 90;
long counts[3]; // launches, bytes to the device, bytes from it
thread_local int context = -1;

bool inside(uint64_t p, size_t n) {
  auto it = allocations.upper_bound(p);
  if (it == allocations.begin()) return false;
  --it;
  return p + n <= it->first + it->second.bytes;
}
char *host(uint64_t p) { return (char *)(p & ~tag); }

// A kernel's access to where no memory is leads back to the launch.
thread_local bool in_kernel;
thread_local sigjmp_buf escape;
struct sigaction before_segv, before_bus;
void on_fault(int sig, siginfo_t *info, void *ctx) {
  if (in_kernel) siglongjmp(escape, 1);
  const struct sigaction &old = sig == SIGSEGV ? before_segv : before_bus; // a fault of someone else
  if (old.sa_flags & SA_SIGINFO) old.sa_sigaction(sig, info, ctx);
  else signal(sig, SIG_DFL);
}

struct module { std::string ptx; };
} // namespace

#define API extern "C" __attribute__((visibility("default"))) int
#define LOCKED std::lock_guard<std::mutex> lock(mu)
#define IN_CONTEXT                              \
  LOCKED;                                       \
  if (context < 0) return 201; /* no context */ \
  if (sticky) return sticky

API cuInit(unsigned) { return sticky; }
API cuDeviceGetCount(int *n) { *n = 2; return 0; }
API cuDeviceGet(int *d, int i) { *d = 10 + i; return i < 2 ? 0 : 101; }
API cuDeviceGetName(char *s, int n, int d) { snprintf(s, n, "fake CUDA device %d", d - 10); return 0; }
API cuDeviceGetAttribute(int *v, int a, int) {
  LOCKED;
  *v = a == 75 ? capability / 10 : a == 76 ? capability % 10 : 1;
  return 0;
}
API cuDevicePrimaryCtxRetain(uintptr_t *c, int d) { *c = d - 9; return 0; } // 1 and 2
API cuDevicePrimaryCtxRelease_v2(int) { return 0; }
API cuCtxSetCurrent(uintptr_t c) { context = (int)c - 1; return 0; }
API cuStreamCreate(void **s, unsigned) { IN_CONTEXT; *s = (void *)2; return 0; }
API cuStreamDestroy_v2(void *) { return 0; }
API cuStreamSynchronize(void *) { IN_CONTEXT; return 0; }
API cuEventCreate(void **e, unsigned) { IN_CONTEXT; *e = (void *)3; return 0; }
API cuEventDestroy_v2(void *) { return 0; }
API cuEventRecord(void *, void *) { IN_CONTEXT; return 0; }
API cuEventSynchronize(void *) { IN_CONTEXT; return 0; }
API cuMemAlloc_v2(uint64_t *p, size_t n) {
  IN_CONTEXT;
  if (n == 0) return 1;
  uint64_t used = 0;
  for (auto &a : allocations)
    if (a.second.device == context) used += a.second.bytes;
  if (limit && used + n > limit) return 2; // CUDA_ERROR_OUT_OF_MEMORY
  void *m = nullptr;
  if (posix_memalign(&m, 512, n)) return 2;
  memset(m, 0xff, n);
  *p = (uint64_t)m | tag;
  allocations[*p] = {n, context};
  return 0;
}
API cuMemFree_v2(uint64_t p) {
  IN_CONTEXT;
  if (!allocations.erase(p)) return 1;
  free(host(p));
  return 0;
}
API cuMemAllocHost_v2(void **p, size_t n) { IN_CONTEXT; return posix_memalign(p, 4096, n) ? 2 : 0; }
API cuMemFreeHost(void *p) { free(p); return 0; }
API cuMemcpyHtoDAsync_v2(uint64_t d, const void *s, size_t n, void *) {
  IN_CONTEXT;
  if (!inside(d, n)) return sticky = 700; // CUDA_ERROR_ILLEGAL_ADDRESS
  memcpy(host(d), s, n);
  counts[1] += n;
  return 0;
}
API cuMemcpyDtoHAsync_v2(void *d, uint64_t s, size_t n, void *) {
  IN_CONTEXT;
  if (!inside(s, n)) return sticky = 700;
  memcpy(d, host(s), n);
  counts[2] += n;
  return 0;
}
API cuMemcpyDtoDAsync_v2(uint64_t d, uint64_t s, size_t n, void *) {
  IN_CONTEXT;
  if (!inside(s, n) || !inside(d, n)) return sticky = 700;
  memcpy(host(d), host(s), n);
  return 0;
}
API cuMemsetD32Async(uint64_t d, unsigned v, size_t n, void *) {
  IN_CONTEXT;
  if (!inside(d, 4 * n)) return sticky = 700;
  for (size_t i = 0; i < n; i++) ((unsigned *)host(d))[i] = v;
  return 0;
}
API cuModuleLoadDataEx(void **m, const char *image, unsigned, int *, void **values) {
  IN_CONTEXT;
  if (strncmp(image, "//", 2) && strncmp(image, ".version", 8)) {
    snprintf((char *)values[0], (size_t)values[1], "fake ptxas: this is no PTX");
    return 218; // CUDA_ERROR_INVALID_PTX
  }
  *m = new module{image};
  return 0;
}
API cuModuleUnload(void *m) { delete (module *)m; return 0; }
API cuModuleGetFunction(void **f, void *m, const char *name) {
  IN_CONTEXT;
  if (((module *)m)->ptx.find(std::string(".entry ") + name + "(") == std::string::npos) return 500; // CUDA_ERROR_NOT_FOUND
  for (auto &k : kernels)
    if (!strcmp(k.name, name)) { *f = &k; return 0; }
  return 500;
}
API cuFuncSetAttribute(void *, int, int v) { IN_CONTEXT; return v > (227 << 10) ? 1 : 0; }
API cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *, void **params, void **) {
  IN_CONTEXT;
  if (!gx || !gy || !gz || gy > 65535 || gz > 65535 || by != 1 || bz != 1 || bx > max_threads || shared > sizeof dynamic_shared) return 1;
  kernel &k = *(kernel *)f;
  counts[0]++;
  static std::vector<uint64_t> copies;
  static std::vector<void *> p;
  copies.assign(k.sizes.size(), 0);
  p.resize(k.sizes.size());
  for (size_t i = 0; i < p.size(); i++) {
    memcpy(&copies[i], params[i], k.sizes[i]);
    if (k.pointer[i] && copies[i]) {
      if (!inside(copies[i], 0)) return sticky = 700;
      copies[i] = (uint64_t)host(copies[i]);
    }
    p[i] = &copies[i];
  }
  memset(dynamic_shared, 0xff, shared);
  fake_blockDim = {bx, by, bz};
  fake_gridDim = {gx, gy, gz};
  entry = k.run;
  entry_params = p.data();
  struct sigaction mine = {};
  mine.sa_sigaction = on_fault;
  mine.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &mine, &before_segv);
  sigaction(SIGBUS, &mine, &before_bus);
  if (sigsetjmp(escape, 1) == 0) {
    in_kernel = true;
    for (unsigned z = 0; z < gz && !sticky; z++)
      for (unsigned y = 0; y < gy && !sticky; y++)
        for (unsigned x = 0; x < gx && !sticky; x++) {
          fake_blockIdx = {x, y, z};
          sticky = run_block(bx);
        }
  } else {
    sticky = 700;
  }
  in_kernel = false;
  sigaction(SIGSEGV, &before_segv, nullptr);
  sigaction(SIGBUS, &before_bus, nullptr);
  return 0; // as on a device, the error shows at a later call
}
API cuGetErrorString(int e, const char **s) {
  *s = e == 0 ? "no error" : e == 1 ? "invalid argument" : e == 2 ? "out of memory" : e == 101 ? "invalid device ordinal"
     : e == 201 ? "invalid device context" : e == 214 ? "uncorrectable ECC error encountered" : e == 218 ? "a PTX JIT compilation failed"
     : e == 500 ? "named symbol not found" : e == 700 ? "an illegal memory access was encountered"
     : e == 719 ? "unspecified launch failure" : "unknown error";
  return 0;
}

// --- what tests set and ask
API fakecuda_reset() { LOCKED; sticky = 0; limit = 0; order = 0; capability = 90; memset(counts, 0, sizeof counts); return 0; }
API fakecuda_set_memory(uint64_t bytes) { // on top of what is in use
  LOCKED;
  limit = bytes;
  for (auto &a : allocations) limit += a.second.bytes;
  return 0;
}
API fakecuda_set_order(int o) { LOCKED; order = o; return 0; }
API fakecuda_set_error(int code) { LOCKED; sticky = code; return 0; }
API fakecuda_set_capability(int c) { LOCKED; capability = c; return 0; }
API fakecuda_allocations() { LOCKED; return (int)allocations.size(); }
API fakecuda_count(int what) { LOCKED; return (int)counts[what]; }
