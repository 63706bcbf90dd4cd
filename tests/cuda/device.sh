#!/bin/bash
# --device: what runs, and why not a GPU: without a plug-in, with one and without a driver, GPU or cuDNN, and with all of them
# (the fake libraries): then it trains on it. Usage: [FOLDER of the fake libraries, of an older plug-in, of one of other sources]
set -u
g=${GANDIST_BIN:?} tmp=${GANDIST_TEST_TMP:?} recipe=${GANDIST_SOURCE_DIR:?}/recipes/gan-2d.yaml failed=0
fake=${1:-} old=${2:-} stale=${3:-}
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
changes="numerics.tf32 changes nothing on device cpu"
# Of halves on matrix tiles nothing is said here: cli.kernels has them.
if grep -q amx_bf16 /proc/cpuinfo; then changes="device cpu"; fi
check "tf32 on the CPU" 0 "$changes" --device cpu --set numerics.tf32=true
check "another word" 64 "one of auto, cpu, cuda" --device gpu
GANDIST_PLUGIN_DIR=$tmp/none both "no plug-in" "there is no CUDA plug-in"
printf 'no library' > "$tmp/none/libgandist_cuda.so"
GANDIST_PLUGIN_DIR=$tmp/none both "a damaged plug-in" "the CUDA plug-in cannot be opened"
if [ -n "$fake" ]; then
    export GANDIST_CUDA_LIBRARIES=$fake
    GANDIST_PLUGIN_DIR=$old both "an older plug-in" "$old/libgandist_cuda.so is of gandist 0.0.9 (interface 0), this program is "
    sources=$(sed -n 's/.*"\(.*\)".*/\1/p' "${GANDIST_BUILD_DIR:?}/sources-id/sources_id.h")
    GANDIST_PLUGIN_DIR=$stale both "a plug-in of other sources" "$stale/libgandist_cuda.so is of another build: its sources are \
0123456789abcdef, those of this program ${sources:?}; build both anew from one source tree, and install them together"
    FAKE_CUDA=none both "no GPU" "cuda: the driver finds no GPU"
    FAKE_CUDA=old both "an old GPU" "cuda: GPU 0 has compute capability 7.0; expected 8.0 or newer"
    FAKE_CUDA=no-dnn both "no cuDNN for it" "cudnn: there is no device that it can use"
    gpu="device cuda (fake GPU, 1 GiB, capability 9.0, CUDA 13.0, cuDNN 9.19)"
    check "all is there, auto" 0 "$gpu" --device auto
    check "all is there, nothing said" 0 "$gpu"
    check "all is there, cuda" 0 "$gpu" --device cuda
    # Strict f32 has no tensor cores (engine 1 of the fake); TF32, when asked for, has (engine 0).
    for tf32 in false true; do
        engine=$([ $tf32 = true ] && echo 0 || echo 1) words=$gpu
        [ $tf32 = true ] && words="$gpu, TF32"
        rm -f "$tmp"/tf32.*
        FAKE_DNN_LOG=$tmp/tf32 XDG_CACHE_HOME=$tmp/tf32-cache check "numerics.tf32=$tf32" 0 "$words" --device cuda --set numerics.tf32=$tf32
        [ "$(sort -u "$tmp/tf32.0")" = "engine $engine" ] || { echo "FAIL numerics.tf32=$tf32 ran $(cat "$tmp/tf32.0")" && failed=1; }
        grep -q "$gpu, TF32" "$tmp/log" && [ $tf32 = false ] && echo "FAIL it says TF32" && failed=1
    done
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
    # Plans: each rank would like another engine (FAKE_DNN_TIMES); all run rank 0's. A list of environments, one a rank.
    tuned() { # name, wanted exit, wanted words, environments
        local name=$1 want=$2 words=$3 e start=()
        shift 3
        rm -rf "$tmp"/engines.* "$tmp/tuned-cache"
        for e in "$@"; do
            # shellcheck disable=SC2206 # one word a variable
            start+=(${start:+:} -np 1 env FAKE_DNN_LOG="$tmp/engines" XDG_CACHE_HOME="$tmp/tuned-cache" $e "$g" train "$recipe"
                --steps 1 --fresh --out "$tmp/run" --device cuda --set batch.global=12)
        done
        mpirun --oversubscribe "${start[@]}" > "$tmp/log" 2>&1
        got=$?
        if [ $got != "$want" ] || ! grep -qF -- "$words" "$tmp/log"; then
            echo "FAIL $name: exit $got, expected $want and '$words' in:"
            tail -20 "$tmp/log"
            failed=1
        else
            echo "ok $name"
        fi
    }
    engines() { # name, rank, engines that ran there
        [ "$(sort -u "$tmp/engines.$2" 2> /dev/null | tr '\n' ' ')" = "$3" ] || { echo "FAIL $1: rank $2 ran $(cat "$tmp/engines.$2")" && failed=1; }
    }
    timed="GANDIST_CUDA_TUNE=timed FAKE_DNN_TIMES="
    tuned "1 rank times" 0 " timed, 0 from the cache, 0 imported" "${timed}1:50,4:10"
    others=()
    for n in 2 3 4; do
        others+=("${timed}0:1,1:$n,4:900")
        tuned "$n ranks, rank 0 times" 0 " timed, 0 from the cache, 0 imported" "${timed}1:50,4:10" "${others[@]}"
        for ((r = 1; r < n; r++)); do engines "$n ranks, rank 0 times" $r "engine 4 "; done
    done
    tuned "rank 0 does not" 0 "device cuda" "GANDIST_CUDA_TUNE=heuristic" "${timed}1:50,4:10"
    engines "rank 0 does not" 1 "engine 1 "
    tuned "another kind of GPU" 65 "one GPU model and one cuDNN on all ranks" "${timed}1:50,4:10" "${timed}1:50 FAKE_DNN_MODEL=other"
    tuned "rank 2 has not that engine" 69 "by engine 4, which rank 0 has chosen" "${timed}1:50,4:10" "${timed}1:50" "${timed}1:50 FAKE_DNN_REFUSES=4"
    for words in "rank 2: D/main.0/matmul" "GANDIST_CUDA_TUNE=heuristic"; do
        grep -qF -- "$words" "$tmp/log" || { echo "FAIL rank 2 has not that engine: no '$words' in:" && cat "$tmp/log" && failed=1; }
    done
    mkdir -p "$tmp/no-nvrtc" && ln -sf "$fake/libcuda.so.1" "$tmp/no-nvrtc/libcuda.so.1"
    if ! ldconfig -p | grep -q 'libnvrtc.so'; then
        GANDIST_CUDA_LIBRARIES=$tmp/no-nvrtc both "no NVRTC" "cuda: libnvrtc.so.13 cannot be opened"
    fi
    if ! ldconfig -p | grep -q 'libcuda.so.1'; then
        GANDIST_CUDA_LIBRARIES=$tmp/none both "no driver" "no NVIDIA driver"
    fi
fi
exit $failed
