#!/usr/bin/env bash
# Tests and measures package lm/tensor/cuda on a machine with an NVIDIA driver, which
# needs no Go: the programs are carried along.
#
#   bench/gpu.sh build BIN        with Go: builds the programs into folder BIN
#   bench/gpu.sh run BIN OUT      on the device: results go into folder OUT as they come
#
# The parts run in the order of what is wanted first, each with a limit of its own, so
# that one that hangs or fails costs no other. OUT/summary.txt has a line for each: its
# name, seconds, and exit status (124: it ran past its limit). OUT/parts.tar.gz has what
# the parts wrote, and is whole after each of them, so that a machine that is taken away
# costs one part. It needs bash, coreutils, tar and gzip.
#
# Environment: PYTHON is a Python with PyTorch (default python3; without PyTorch those
# parts fail at once); PARTS a pattern of the parts to run, as in '@(products|train)*'
# (default all); BUDGET is how many seconds there are for all of them (default no limit):
# no part runs past its end; SCALE multiplies the limits; LIBCUDA is the driver's library
# (default libcuda.so.1). QUICK=1 runs everything with small shapes, which with a fake
# libcuda shows that the script works.
set -uo pipefail
shopt -s extglob
cd "$(dirname "$0")/.."

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 2; }

build() {
  mkdir -p "$1"
  CGO_ENABLED=0 go test -c -trimpath -ldflags='-s -w' -o "$1/cuda.test" ./lm/tensor/cuda &&
    CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$1/stepwise" ./cmd/stepwise &&
    ls -l "$1"
}

# part NAME SECONDS COMMAND... runs a part.
part() {
  local name=$1 limit=$(($2 * ${SCALE:-1})) start=$SECONDS status
  shift 2
  # shellcheck disable=SC2254
  case $name in ${PARTS:-*}) ;; *) return ;; esac
  if [ -n "${BUDGET:-}" ] && [ "$limit" -gt $((BUDGET - SECONDS)) ]; then
    limit=$((BUDGET - SECONDS))
    [ "$limit" -ge 10 ] || { echo "$name: no time is left" | tee -a "$out/summary.txt"; return; }
  fi
  echo "== $name (at most $limit s): $*"
  timeout -k 5 "$limit" "$@" > "$parts/$name.txt" 2>&1
  status=$?
  tail -n "${TAIL:-12}" "$parts/$name.txt"
  printf '%-28s %4d s  status %d\n' "$name" $((SECONDS - start)) $status | tee -a "$out/summary.txt"
  tar -C "$parts" -czf "$out/parts.new" . && mv "$out/parts.new" "$out/parts.tar.gz"
}

run() {
  bin=$(cd "$1" && pwd) || exit 1
  mkdir -p "$2" && out=$(cd "$2" && pwd) || exit 1
  local lib=${LIBCUDA:-libcuda.so.1} python=${PYTHON:-python3} quick=${QUICK:+-quick}
  local cuda="cuda:0,library=$lib"
  # Compiled kernels are kept between the processes, and what PyTorch compiles.
  tmp=$(mktemp -d)
  trap 'rm -rf "$tmp"' EXIT
  parts=$tmp/parts
  export CUDA_CACHE_MAXSIZE=1073741824 CUDA_CACHE_PATH=$tmp/cuda TORCHINDUCTOR_CACHE_DIR=$tmp/inductor
  mkdir "$parts" "$CUDA_CACHE_PATH"
  # Where containers have the driver, if the loader does not know.
  export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/usr/local/nvidia/lib64
  # PyTorch's cuBLASLt, for cublaslt=auto.
  [ -n "${CUBLASLT:-}" ] || CUBLASLT=$("$python" -c 'import glob, sys; print(*[f for p in sys.path for d in ("cu13/lib", "cublas/lib") for f in glob.glob(p + "/nvidia/" + d + "/libcublasLt.so.1[23]")][:1])' 2> /dev/null)
  export CUBLASLT

  { date -u; nvidia-smi || echo "no nvidia-smi"; "$python" -c 'import torch; print("PyTorch", torch.__version__)' 2>&1 | tail -1; } > "$out/machine.txt" 2>&1
  conformance() { (cd lm/tensor/cuda && exec "$bin/cuda.test" -libcuda "$lib" -test.v -test.run "$1"); }
  bench() {
    local backend=$1 sections=$2 models=$3
    # shellcheck disable=SC2086
    "$bin/stepwise" bench $quick -backend "$backend" -sections "$sections" ${models:+-models "$models"} -json "$parts/$4.json"
  }
  torch() { "$python" bench/torch_gpu.py $quick "$@"; }
  export -f conformance bench torch
  export bin parts lib python quick

  part conformance-float32 120 bash -c 'conformance "TestConformance|TestTensorCores"'
  part conformance-bf16 90 bash -c 'conformance TestPrecisions/bf16'

  part products-bf16 40 bash -c "bench $cuda,precision=bf16 gemm '' products-bf16"
  part products-bf16-cublaslt 40 bash -c "bench $cuda,precision=bf16,cublaslt=auto gemm '' products-bf16-cublaslt"
  part products-torch 40 bash -c 'torch products'

  part train-1B-bf16-cublaslt 60 bash -c "bench $cuda,precision=bf16,cublaslt=auto train 1B train-1B-bf16-cublaslt"
  part train-1B-bf16 60 bash -c "bench $cuda,precision=bf16 train 1B train-1B-bf16"
  part sample-1B-bf16 60 bash -c "bench $cuda,precision=bf16 sample 1B sample-1B-bf16"
  part sample-8B-bf16 90 bash -c "bench $cuda,precision=bf16 sample 8B sample-8B-bf16"

  part conformance-tf32 90 bash -c 'conformance TestPrecisions/tf32'

  part train-1B-torch-eager 60 bash -c 'torch train 1B'
  part sample-1B-torch-eager 60 bash -c 'torch sample 1B'
  part sample-8B-torch-eager 60 bash -c 'torch sample 8B'
  part train-1B-torch-compiled 120 bash -c 'torch train 1B -compile'
  part sample-1B-torch-compiled 120 bash -c 'torch sample 1B -compile'
  part sample-8B-torch-compiled 120 bash -c 'torch sample 8B -compile'

  part products-tf32 40 bash -c "bench $cuda,precision=tf32 gemm '' products-tf32"
  part products-float32 60 bash -c "bench $cuda gemm '' products-float32"
  part train-1B-tf32 60 bash -c "bench $cuda,precision=tf32 train 1B train-1B-tf32"
  part train-float32 60 bash -c "bench $cuda train 10M,100M train-float32"
  part shared-bf16 60 bash -c "bench $cuda,precision=bf16 shared 100M shared-bf16"
  part sample-float32 60 bash -c "bench $cuda sample 10M,100M sample-float32"

  if command -v compute-sanitizer > /dev/null; then
    for tool in racecheck memcheck initcheck synccheck; do
      part sanitizer-$tool 120 bash -c "cd lm/tensor/cuda && compute-sanitizer --tool $tool --error-exitcode 9 '$bin/cuda.test' -libcuda '$lib' -test.run TestTensorCores"
    done
  else
    echo "compute-sanitizer is not here" | tee -a "$out/summary.txt"
  fi
}

case ${1:-} in
  build) [ $# = 2 ] || usage; build "$2" ;;
  run) [ $# = 3 ] || usage; run "$2" "$3" ;;
  *) usage ;;
esac
