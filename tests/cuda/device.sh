#!/bin/bash
# --device: what runs, and why not a GPU: without a plug-in, with one and without a driver, GPU or cuDNN, and with all of them
# (the fake libraries): then it trains on it. Usage: [FOLDER of the fake libraries, FOLDER of an older plug-in]
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
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
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
    gpu="device cuda (fake GPU, 1 GiB, capability 9.0, CUDA 13.0, cuDNN 9.19)"
    check "all is there, auto" 0 "$gpu" --device auto
    check "all is there, nothing said" 0 "$gpu"
    check "all is there, cuda" 0 "$gpu" --device cuda
    check "all is there, cpu" 0 "device cpu" --device cpu
    check "a dry run needs none" 0 "all-reduced" --dry-run
    # One rank without a GPU, and no rank has one.
    one_without() { # words, wanted exit, device
        mpirun --oversubscribe -np 1 "$g" train "$recipe" --steps 1 --fresh --out "$tmp/run" --device "$3" : \
            -np 1 env FAKE_CUDA=none "$g" train "$recipe" --steps 1 --fresh --out "$tmp/run" --device "$3" > "$tmp/log" 2>&1
        got=$?
        if [ $got != "$2" ] || ! grep -qF "$1" "$tmp/log"; then
            echo "FAIL one rank without, $3: exit $got, expected $2 and '$1' in:"
            tail -20 "$tmp/log"
            failed=1
        else
            echo "ok one rank without, $3"
        fi
    }
    one_without "device cpu (cuda: the driver finds no GPU)" 0 auto
    one_without "CUDA cannot be used: cuda: the driver finds no GPU" 69 cuda
    GANDIST_CUDA_TUNE=timed mpirun --oversubscribe -np 2 "$g" train "$recipe" --steps 1 --fresh --out "$tmp/run" --device cuda \
        > "$tmp/log" 2>&1
    got=$?
    if [ $got != 69 ] || ! grep -qF "GANDIST_CUDA_TUNE=timed: ranks would time plans each for itself" "$tmp/log"; then
        echo "FAIL plans timed by two ranks: exit $got, expected 69 in:"
        tail -20 "$tmp/log"
        failed=1
    else
        echo "ok plans timed by two ranks"
    fi
    mkdir -p "$tmp/no-nvrtc" && ln -sf "$fake/libcuda.so.1" "$tmp/no-nvrtc/libcuda.so.1"
    if ! ldconfig -p | grep -q 'libnvrtc.so'; then
        GANDIST_CUDA_LIBRARIES=$tmp/no-nvrtc both "no NVRTC" "cuda: libnvrtc.so.13 cannot be opened"
    fi
    if ! ldconfig -p | grep -q 'libcuda.so.1'; then
        GANDIST_CUDA_LIBRARIES=$tmp/none both "no driver" "no NVIDIA driver"
    fi
fi
exit $failed
