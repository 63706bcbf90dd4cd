#!/bin/bash
# What --dry-run says that a training takes of a GPU and of pinned memory, against what the fake libraries are then asked for; and what
# it says where there is no GPU. Usage: FOLDER of the fake libraries
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh"
export GANDIST_CUDA_LIBRARIES=${1:?} XDG_CACHE_HOME=$work/cache
command -v python3 > /dev/null || { echo "python3 is not there"; exit 77; }
tiny_recipe tiny.yaml
two_way_recipe two-way.yaml

# start RANKS arguments...: a GPU for each of them; rank 0 writes down what it was asked for.
start() {
    local n=$1 line=() r
    shift
    # shellcheck disable=SC2206,SC2207 # one word a variable
    for ((r = 0; r < n; r++)); do
        line+=(${line:+:} -np 1 env FAKE_BUS=$r $([ $r = 0 ] && echo "FAKE_MEMORY=$work/asked") "$GANDIST_BIN" "$@" --device cuda)
    done
    mpirun --oversubscribe --allow-run-as-root "${line[@]}"
}

# told WHAT RANKS arguments: within 2 % and 64 kB of the device's memory, and of pinned memory.
told() {
    local what=$1 n=$2
    shift 2
    run 0 start "$n" "$@" --dry-run --json
    echo "$out" > said.json
    run 0 start "$n" "$@" --steps 2 --fresh --quiet --out run
    checks=$((checks + 1))
    python3 - "$what" << 'P' || fail "$what: another memory than --dry-run said: $(cat said.json asked)"
import json, sys
said = json.loads([l for l in open('said.json') if l.startswith('{')][-1])
device, pinned = map(int, open('asked').read().split())
there, want = said['there'], said['pinned_bytes']
print(f"{sys.argv[1]:32} device: said {there['total_bytes']:9}, asked {device:9}; pinned: said {want:8}, asked {pinned:8}")
parts = sum(there[k] for k in there if k not in ('total_bytes', 'free_bytes'))
near = lambda a, b: abs(a - b) <= 0.02 * b + 65536
sys.exit(not (parts == there['total_bytes'] and near(there['total_bytes'], device) and near(want, pinned) and 'seconds' not in said))
P
}

wide=(--set generator.width=32 --set discriminator.width=32 --set log.samples.every=0)
told "DCGAN, the set stays there" 1 tiny.yaml "${wide[@]}" --set train.steps=1000; equal "$(grep -c '"set_bytes":524288' said.json)" 1 "the set"
told "DCGAN, the set stays away" 1 tiny.yaml "${wide[@]}" --set data.resident=never --set data.depth=4
told "DCGAN, 2 ranks" 2 tiny.yaml "${wide[@]}"
told "DCGAN, 2 ranks, 4 shards" 2 tiny.yaml "${wide[@]}" --set numerics.shards=4
told "DCGAN, 2 ranks, divided" 2 tiny.yaml "${wide[@]}" --set optimizer.shard=true
told "CycleGAN" 1 two-way.yaml --set log.samples.every=0
told "CycleGAN, 2 ranks" 2 two-way.yaml --set log.samples.every=0

# In words; and what there is to say without a GPU.
run 0 start 1 tiny.yaml --set train.steps=1000 --dry-run
says "device cuda ("; says "memory of one rank on the device (1 rank), without what CUDA's libraries take"
says "memory of one rank on its host (1 rank)"; says "data set"; says "free there now"; says "pinned, for copies"; lacks "estimated time"
run 0 start 1 tiny.yaml --dry-run
lacks "data set" # fewer samples than it has would be drawn
run 69 env FAKE_CUDA=none "$GANDIST_BIN" tiny.yaml --dry-run --device cuda
says "--dry-run: what a training takes of a GPU is asked of it: --device cuda: CUDA cannot be used"; says "or use --device cpu"
run 0 env FAKE_CUDA=none "$GANDIST_BIN" tiny.yaml --dry-run
says "device cpu (cuda: the driver finds no GPU"; says "memory of one rank (1 rank)"; says "estimated time"; lacks "on the device"
run 0 env FAKE_CUDA=none "$GANDIST_BIN" tiny.yaml --dry-run --json
says '"seconds":'; lacks '"there"'
checks=$((checks + 1)); [ ! -e runs ] || fail "--dry-run made a run folder"
finish
