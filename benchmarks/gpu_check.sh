#!/usr/bin/env bash
# One call on a machine with an NVIDIA GPU answers everything: the CUDA tests, the examples, the benchmark table beside
# jax and torch, and 2,000 random programs. Results go to $OUT (default: benchmarks/results/gpu).
#
#   benchmarks/gpu_check.sh [tests] [examples] [table] [fuzz] [traffic] [sanitize]      no names: the first four
#
# traffic counts the bytes that the memory-bound cases move (needs ncu); sanitize runs the kernels' tests under
# compute-sanitizer, for memory errors and for races (slow: ten minutes and more). CASES chooses the cases of the table, JOBS the processes for tests and random programs (default: all but two cores).
set -u
cd "$(dirname "$0")/.."
OUT=${OUT:-benchmarks/results/gpu}
mkdir -p "$OUT"
PARTS=${*:-tests examples table fuzz}
CASES=${CASES:-mlp_b128,mnist_conv,mem,matmul_f32_4096,matmul_bf16_4096,conv64_f32_*,conv256_f32_*,dispatch,lstm}
JOBS=${JOBS:-$(($(nproc) > 3 ? $(nproc) - 2 : 1))}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
export FTINY_DEVICE=cuda FTINY_CACHE_DIR=${FTINY_CACHE_DIR:-$(mktemp -d)}
status=0

has() { [[ " $PARTS " == *" $1 "* ]]; }

nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | tee "$OUT/gpu.txt" || exit 1
if has tests; then
  timeout 240 python3 -m pytest -q -n "$JOBS" --maxfail=40 -m gpu tests >"$OUT/tests.txt" 2>&1 || status=1
  grep -v -i "benchmark\|warner\|bringing up" "$OUT/tests.txt" | tail -40
fi
if has examples; then
  timeout 120 python3 examples/mnist_mlp.py --steps 2000 2>&1 | tail -6 | tee "$OUT/mnist_mlp.txt"
  timeout 120 python3 examples/mnist_conv.py --steps 3000 2>&1 | tail -6 | tee "$OUT/mnist_conv.txt"
fi
if has table; then
  for peer in ftiny jax torch; do
    timeout 200 python3 benchmarks/peers.py --peer $peer --suite gpu --only "$CASES" --fast --case-seconds 2 --budget 150 \
      --json "$OUT/$peer.json" --log "$OUT/$peer.log" >"$OUT/$peer.txt"
    tail -1 "$OUT/$peer.txt"
  done
  python3 benchmarks/table.py "$OUT/table.md" "$OUT"/{ftiny,jax,torch}.json
fi
if has traffic; then
  python3 benchmarks/traffic.py | tee "$OUT/traffic.md"
fi
if has sanitize; then
  for tool in memcheck racecheck; do
    timeout ${SANITIZE_SECONDS:-600} compute-sanitizer --tool $tool --report-api-errors no --error-exitcode 9 --target-processes all \
      python3 -m pytest -q -x -m gpu ${SANITIZE_TESTS:-tests/test_emit.py tests/test_contract_schedule.py} >"$OUT/$tool.txt" 2>&1 || status=1
    tail -4 "$OUT/$tool.txt"
  done
fi
if has fuzz; then
  timeout 600 python3 -m ftiny fuzz --device cuda --against jax --seeds 0:2000 --jobs "$JOBS" >"$OUT/fuzz.txt" 2>&1 || status=1
  tail -15 "$OUT/fuzz.txt"
fi
exit $status
