#!/bin/bash
# --device: what runs, and why not a GPU: without a plug-in, with one and without a driver, GPU or cuDNN, and with all of them
# (the fake libraries). Usage: [FOLDER of the fake libraries, FOLDER of an older plug-in]
set -u
g=${GANDIST_BIN:?} tmp=${GANDIST_TEST_TMP:?} recipe=${GANDIST_SOURCE_DIR:?}/recipes/gan-2d.yaml failed=0
fake=${1:-} old=${2:-}
rm -rf "$tmp"/*
mkdir -p "$tmp/none"

check() { # name, wanted exit, wanted words, arguments of train
    local name=$1 want=$2 words=$3
    shift 3
    "$g" train "$recipe" --steps 1 --fresh --out "$tmp/run" "$@" > "$tmp/log" 2>&1
    local got=$?
    if [ $got != "$want" ] || ! grep -qF -- "$words" "$tmp/log"; then
        echo "FAIL $name: exit $got, expected $want and '$words' in:"
        tail -20 "$tmp/log"
        failed=1
    else
        echo "ok $name"
    fi
}
both() { # name, words: auto takes the CPU and says them, cuda is refused with them
    start=$1 words=$2
    shift 2
    check "$start, auto" 0 "device cpu ($words" --device auto
    check "$start, cuda" 69 "$words" --device cuda
}

check "cpu" 0 "device cpu" --device cpu
check "ref" 69 "executor ref computes in another type" --device ref
check "another word" 64 "one of auto, cpu, cuda" --device gpu
GANDIST_PLUGIN_DIR=$tmp/none both "no plug-in" "there is no CUDA plug-in"
printf 'no library' > "$tmp/none/libgandist_cuda.so"
GANDIST_PLUGIN_DIR=$tmp/none both "a damaged plug-in" "the CUDA plug-in cannot be opened"
if [ -n "$fake" ]; then
    export GANDIST_CUDA_LIBRARIES=$fake
    GANDIST_PLUGIN_DIR=$old both "an older plug-in" "$old/libgandist_cuda.so is of gandist 0.0.9 (interface 0), this program is "
    FAKE_CUDA=none both "no GPU" "cuda: the driver finds no GPU"
    FAKE_CUDA=old both "an old GPU" "cuda: GPU 0 has compute capability 7.0; expected 8.0 or newer"
    FAKE_CUDA=no-dnn both "no cuDNN for it" "cudnn: there is no device that it can use"
    check "all is there, auto" 0 "device cpu (fake GPU, 1 GiB, capability 9.0, CUDA 13.0, cuDNN 9.19 works, but training on it"
    check "all is there, cuda" 69 "--device cuda: fake GPU, 1 GiB, capability 9.0, CUDA 13.0, cuDNN 9.19 works, but" --device cuda
    mkdir -p "$tmp/no-nvrtc" && ln -sf "$fake/libcuda.so.1" "$tmp/no-nvrtc/libcuda.so.1"
    if ! ldconfig -p | grep -q 'libnvrtc.so'; then
        GANDIST_CUDA_LIBRARIES=$tmp/no-nvrtc both "no NVRTC" "cuda: libnvrtc.so.13 cannot be opened"
    fi
    if ! ldconfig -p | grep -q 'libcuda.so.1'; then
        GANDIST_CUDA_LIBRARIES=$tmp/none both "no driver" "no NVIDIA driver"
    fi
fi
exit $failed
