#!/usr/bin/env bash
# One call on a machine with an NVIDIA GPU answers everything: the CUDA tests, the random programs, the examples and the
# benchmark table beside jax and torch. Results go to $OUT (default: benchmarks/results/gpu).
#
#   benchmarks/gpu_check.sh [tests] [fuzz] [examples] [table]      no names: all of them
set -u
cd "$(dirname "$0")/.."
OUT=${OUT:-benchmarks/results/gpu}
mkdir -p "$OUT"
PARTS=${*:-tests examples table fuzz}
CASES=${CASES:-mlp_b128,mnist_conv,mem,matmul_f32_4096,conv64_f32_fwd,conv64_f32_dx,conv64_f32_dw,dispatch}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
export FTINY_DEVICE=cuda
status=0

has() { [[ " $PARTS " == *" $1 "* ]]; }

nvidia-smi --query-gpu=name,driver_version --format=csv,noheader || exit 1
if has tests; then
  timeout 240 python3 -m pytest -q -x --maxfail=20 -m gpu tests 2>&1 | tail -40 | tee "$OUT/tests.txt"
  [ "${PIPESTATUS[0]}" = 0 ] || status=1
fi
if has examples; then
  timeout 120 python3 examples/mnist_mlp.py --steps 2000 2>&1 | tail -8 | tee "$OUT/mnist_mlp.txt"
  timeout 120 python3 examples/mnist_conv.py --steps 3000 2>&1 | tail -8 | tee "$OUT/mnist_conv.txt"
fi
if has table; then
  for peer in ftiny jax torch; do
    timeout 200 python3 benchmarks/peers.py --peer $peer --suite gpu --only "$CASES" --fast --case-seconds 3 --budget 170 \
      --json "$OUT/$peer.json" --log "$OUT/$peer.log" | tail -40
  done
  python3 benchmarks/table.py "$OUT/table.md" "$OUT"/{ftiny,jax,torch}.json
fi
if has fuzz; then
  timeout 300 python3 tests/random_programs.py --device cuda --seeds 0:2000 2>&1 | tail -15 | tee "$OUT/fuzz.txt"
fi
exit $status
