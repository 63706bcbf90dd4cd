#!/bin/bash
# tests/gpu/run without a GPU: 77 and the reason; and on the fake libraries, as far as they go. Usage: FAKE PARITY-PROGRAM
set -u
run=${GANDIST_SOURCE_DIR:?}/tests/gpu/run tmp=${GANDIST_TEST_TMP:?} failed=0
rm -rf "$tmp"/*
expect() { # name, wanted exit, wanted words; the log is in $tmp/log
    if [ "$4" != "$2" ] || ! grep -q -- "$3" "$tmp/log"; then
        echo "FAIL $1: exit $4, expected $2 and '$3' in:"
        cat "$tmp/log"
        failed=1
    else
        echo "ok $1"
    fi
}
export GANDIST_GPU_PARITY=$2 GANDIST_GPU_FAMILIES=mlp
if ! command -v nvidia-smi > /dev/null && ! ldconfig -p | grep -q 'libcuda.so.1'; then
    GANDIST_CUDA_LIBRARIES='' bash "$run" "$tmp/none" > "$tmp/log" 2>&1
    expect "no driver" 77 "no GPU: no NVIDIA driver" $?
fi
export GANDIST_CUDA_LIBRARIES=$1
FAKE_CUDA=none bash "$run" "$tmp/no-gpu" > "$tmp/log" 2>&1
expect "no GPU" 77 "no GPU: skipped: cuda: the driver finds no GPU" $?
bash "$run" "$tmp/fake" > "$tmp/log" 2>&1
expect "the fake GPU" 0 "parity .*pass .*6 steps, 0 failures" $?
grep -q 'fake GPU' "$tmp/fake/device.json" || { echo "FAIL no properties"; failed=1; }
GANDIST_GPU_FAMILIES=nothing bash "$run" "$tmp/fails" > "$tmp/log" 2>&1
expect "a stage that fails" 1 "parity .*FAIL" $?
exit $failed
