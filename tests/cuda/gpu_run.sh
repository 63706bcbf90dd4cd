#!/bin/bash
# tests/gpu/run without a GPU: 77 and the reason; on the fake libraries, as far as they go, the program's own training included; and every stage that fails is a failure in the
# table and of the whole. Usage: FAKE
set -u
train=''
run=${GANDIST_SOURCE_DIR:?}/tests/gpu/run tmp=${GANDIST_TEST_TMP:?} real=${GANDIST_BUILD_DIR:?} failed=0
rm -rf "$tmp"/*
expect() { # name, wanted exit, wanted words, exit; the log is in $tmp/log
    if [ "$4" != "$2" ] || ! grep -q -- "$3" "$tmp/log"; then
        echo "FAIL $1: exit $4, expected $2 and '$3' in:"
        cat "$tmp/log"
        failed=1
    else
        echo "ok $1"
    fi
}
also() { # name, words that the same log has
    grep -q -- "$2" "$tmp/log" || { echo "FAIL $1: no '$2' in:" && cat "$tmp/log" && failed=1; }
}
export GANDIST_GPU_PROGRAMS=$real GANDIST_GPU_FAMILIES=mlp GANDIST_GPU_CASES=conv
export GANDIST_GPU_STAGES="ops parity nccl repeat"
if ! command -v nvidia-smi > /dev/null && ! ldconfig -p | grep -q 'libcuda.so.1'; then
    GANDIST_CUDA_LIBRARIES='' bash "$run" "$tmp/none" > "$tmp/log" 2>&1
    expect "no driver" 77 "no GPU: no NVIDIA driver" $?
fi
export GANDIST_CUDA_LIBRARIES=$1
FAKE_CUDA=none bash "$run" "$tmp/no-gpu" > "$tmp/log" 2>&1
expect "no GPU" 77 "no GPU: skipped: cuda: the driver finds no GPU" $?

# ---- what passes ----
command -v python3 > /dev/null && train=train
GANDIST_GPU_STAGES="ops parity nccl ranks $train repeat" GANDIST_GPU_STEPS=10 GANDIST_GPU_VARIANTS=gan-2d \
    bash "$run" "$tmp/fake" > "$tmp/log" 2>&1
expect "the fake GPU" 0 "parity .*pass .*6 steps, 0 failures" $?
also "ops" "ops .*pass .*programs, 0 failures"
also "ops' table" "^conv_dw "
also "nccl" "nccl .*pass .*NCCL 22809, 1 rank, 2 communicators, 6 collectives eager and captured, exchanges, 0 wrong"
also "ranks" "ranks .*pass .*1, 2 and 4 ranks end in state_hash "
[ -z "$train" ] || also "train" "train .*pass .*1 variants, 10 steps each, 0 too far or failed"
also "repeat" "repeat .*pass .*6 steps, 0 failures, compared with the start before"
grep -q 'fake GPU' "$tmp/fake/device.json" || { echo "FAIL no properties"; failed=1; }
[ "$(grep -c '"result":"pass"' "$tmp/fake/results.jsonl")" = $((6 + ${#train} / 5)) ] || { echo "FAIL results.jsonl:" && cat "$tmp/fake/results.jsonl" && failed=1; }

# ---- what fails of ops and nccl: a failure of the stage and of the whole, and its words in the table ----
fails() { # name of the case, stage, wanted words, environment
    local name=$1 which=$2 words=$3 log=$tmp/fails-$RANDOM
    shift 3
    env GANDIST_GPU_STAGES="$which" "$@" bash "$run" "$log" > "$tmp/log" 2>&1
    expect "$name" 1 "^$which .*FAIL .*$words" $?
    grep -q "\"stage\":\"$which\",\"result\":\"FAIL\"" "$log/results.jsonl" || { echo "FAIL $name: no JSON line" && failed=1; }
}
fails "a convolution that is wrong" ops "programs, [1-9][0-9]* failures" FAKE_DNN_WRONG=1
fails "no case of that name" ops "0 programs, 0 failures" GANDIST_GPU_CASES=nothing
fails "no plan" ops "cuDNN 91900 has no plan for" FAKE_DNN_REFUSES=all
fails "a sum that is wrong" nccl "[1-9][0-9]* wrong" FAKE_NCCL=wrong
fails "a communicator that fails" nccl "communicator G, rank 0 of 1: .*a cable was pulled" FAKE_NCCL=async
fails "a collective that never ends" nccl "did not end within 20 s" FAKE_NCCL=stuck
GANDIST_GPU_STAGES=nccl FAKE_NCCL=old bash "$run" "$tmp/old-nccl" > "$tmp/log" 2>&1
expect "an old NCCL is skipped" 0 "^nccl .*skip .*version 2.18.5; expected" $?

# ---- the programs that need a GPU, with this one in place of gandist: it does what FAKE_GANDIST says ----
bin=$tmp/programs
mkdir -p "$bin/launch" "$bin/tests"
for name in ops parity nccl; do ln -s "$real/tests/test_gpu.$name" "$bin/tests/"; done
cat > "$bin/launch/gandist" <<'PROGRAM'
#!/bin/bash
# gandist as tests/gpu/run sees it: train writes a curve and says device and state_hash, bench answers.
what=$1 recipe=$2
shift 2
ranks=${OMPI_COMM_WORLD_SIZE:-1} device=auto out='' steps=10 seed=0 name=$(basename "$recipe" .yaml)
while [ $# -gt 0 ]; do
    case $1 in
    --device) device=$2; shift ;;
    --out) out=$2; shift ;;
    --steps) steps=$2; shift ;;
    --set) case $2 in seed=*) seed=${2#seed=} ;; esac; shift ;;
    esac
    shift
done
case ${FAKE_GANDIST:-} in
refuses) [ "$device" = cuda ] && { echo "--device cuda: not here" >&2; exit 69; } ;;
crashes) [ "$device" = cuda ] && kill -9 $$ ;;
hangs) [ "$device" = cuda ] && exec sleep 600 ;;
esac
if [ "$what" = bench ]; then
    [ "${FAKE_GANDIST:-}" = words ] && { echo "fast"; exit 0; }
    echo '{"iteration":0.002,"d_step":0.001,"g_step":0.001}'
    exit 0
fi
mkdir -p "$out"
off=0
[ "$device" = cuda ] && case ${FAKE_GANDIST:-} in begins-elsewhere) off=0.01 ;; esac
awk -v n="$steps" -v s="$seed" -v o="$off" -v drift="$([ "$device" = cuda ] && [ "${FAKE_GANDIST:-}" = drifts ] && echo 1 || echo 0)" \
    'BEGIN { for (i = 1; i <= n; i++) {
        x = 1 + 0.2 * sin(i * 0.1 * (1 + 0.1 * (s - 1))) * (i > 5) + o + drift * (i > 5)
        printf "{\"step\":%d,\"loss_d\":%.6f,\"loss_g\":%.6f}\n", i, x, 2 * x } }' > "$out/metrics.jsonl"
[ "$device" = cuda ] && [ "${FAKE_GANDIST:-}" = nan ] && sed -i 's/"loss_d":[0-9.]*/"loss_d":NaN/' "$out/metrics.jsonl"
[ "$device" = cuda ] && [ "${FAKE_GANDIST:-}" = short ] && sed -i '$d' "$out/metrics.jsonl"
[ "${OMPI_COMM_WORLD_RANK:-0}" = 0 ] || exit 0
[ "${FAKE_GANDIST:-}" = elsewhere ] && device=cpu
echo "device $device (a fake of it)"
hash=0123456789abcdef
[ "$ranks" = 4 ] && [ "${FAKE_GANDIST:-}" = differs ] && hash=0123456789abcdee
[ "${FAKE_GANDIST:-}" = silent ] || echo "  state_hash  $hash"
PROGRAM
chmod +x "$bin/launch/gandist"

# tests/gpu/torch_rows.py needs no PyTorch here: the interpreter's is hidden or faked by PYTHONPATH.
mkdir -p "$tmp/no-torch/torch"
echo 'raise ImportError("hidden")' > "$tmp/no-torch/torch/__init__.py"
export PYTHONPATH=$tmp/no-torch PYTHONDONTWRITEBYTECODE=1
command -v python3 > /dev/null || { echo "skipped: no python3 for the stages train and bench"; [ $failed = 0 ] && exit 77; exit 1; }

stage() { # name of the case, what FAKE_GANDIST does, stage, wanted result, wanted words, wanted exit
    GANDIST_GPU_PROGRAMS=$bin GANDIST_GPU_STAGES=$3 FAKE_GANDIST=$2 bash "$run" "$tmp/$3-${2:-right}" > "$tmp/log" 2>&1
    expect "$1" "$6" "^$3 .*$4 .*$5" $?
    grep -q "\"stage\":\"$3\",\"result\":\"$4\"" "$tmp/$3-${2:-right}/results.jsonl" || { echo "FAIL $1: no JSON line" && failed=1; }
}
export GANDIST_GPU_VARIANTS="dcgan pix2pix" GANDIST_GPU_ROWS="DCGAN pix2pix"
stage "ranks" "" ranks pass "1, 2 and 4 ranks end in state_hash 0123456789abcdef" 0
stage "ranks that differ" differs ranks FAIL "4 ranks end in state_hash 0123456789abcdee, 1 rank in" 1
stage "ranks without a hash" silent ranks FAIL "1 ranks: no state_hash" 1
stage "ranks on another device" elsewhere ranks FAIL "does not say that it ran on device cuda" 1
stage "ranks refused" refuses ranks FAIL "1 ranks: --device cuda: not here" 1
stage "train" "" train pass "2 variants, 200 steps each, 0 too far or failed" 0
stage "train begins elsewhere" begins-elsewhere train FAIL "2 too far or failed" 1
stage "train drifts away" drifts train FAIL "2 too far or failed" 1
stage "train is not finite" nan train FAIL "2 too far or failed" 1
stage "train ends early" short train FAIL "2 too far or failed" 1
stage "train refused" refuses train FAIL "no variant could be started: .*--device cuda: not here" 1
stage "train crashes" crashes train FAIL "2 too far or failed" 1
stage "bench" "" bench pass "4 of 4 rows timed; 2 at most 2.5 x the floor, 0 of 0 compared .*PyTorch: 0 of 16 rows (.*hidden" 0
also "bench' table" "| DCGAN b128 | 0.556 | 2.000 | 3.60 x |"
stage "bench refused" refuses bench FAIL "0 of 4 rows timed, not DCGAN b128" 1
stage "bench says nothing of use" words bench FAIL "0 of 4 rows timed" 1
stage "bench crashes" crashes bench FAIL "0 of 4 rows timed" 1

# ---- limits, and going on ----
export GANDIST_GPU_PROGRAMS=$bin
GANDIST_GPU_SECONDS=5 GANDIST_GPU_STAGES="train bench nccl" FAKE_GANDIST=hangs bash "$run" "$tmp/limits" > "$tmp/log" 2>&1
expect "a stage that hangs, and no time for the next" 1 "^train .*FAIL " $?
also "no time" "^bench .*FAIL .*no time left of 5 s"
GANDIST_GPU_STAGES="parity nccl repeat" GANDIST_GPU_FAMILIES=nothing bash "$run" "$tmp/goes-on" > "$tmp/log" 2>&1
expect "a stage that fails" 1 "parity .*FAIL" $?
also "the next one runs" "^nccl .*pass"
echo "0123456789abcdef mlp, D, f32" > "$tmp/bytes"
GANDIST_SOURCE_DIR=$GANDIST_SOURCE_DIR "$bin/tests/test_gpu.parity" --bytes "$tmp/bytes" mlp > "$tmp/log" 2>&1
expect "other bytes than before" 1 "other bytes than the start before" $?
exit $failed
