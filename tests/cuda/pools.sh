#!/bin/bash
# A CycleGAN whose image pools live on the GPU, on the fake libraries: the bytes of pools that go through the host, on 1, 2 and 4 ranks, and of
# checkpoints between the two. Usage: FOLDER of the fake libraries [--long]
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh"
export GANDIST_CUDA_LIBRARIES=${1:?} XDG_CACHE_HOME=$work/cache
two_way_recipe both.yaml

# start WAY RANKS arguments...: a GPU for each rank; pools are on the GPUs where sums are, with auto, and on the host with staged.
start() {
    local way=$1 n=$2 line=() r
    shift 2
    for ((r = 0; r < n; r++)); do
        line+=(${line:+:} -np 1 env "FAKE_BUS=$r" "GANDIST_CUDA_COMM=$way" "$GANDIST_BIN" train both.yaml --device cuda --quiet
            --set batch.global=4 --set log.samples.every=0 "$@")
    done
    mpirun --oversubscribe --allow-run-as-root "${line[@]}"
}
hash_said() { sed -n 's/^ *state_hash *//p' <<< "$out"; }

# A pool that is soon full and one that fills, runs that are captured, with and without overlap.
same() { # RANKS arguments
    run 0 start auto "$@" --steps 4 --fresh --out there; there=$(hash_said)
    run 0 start staged "$@" --steps 4 --fresh --out host
    equal "$there" "$(hash_said)" "$* (ranks first): pools on the GPUs against pools on the host"
    [ -n "$there" ] || fail "no state_hash"
}
same 2 --set pool.size=3
if [ "${2:-}" = --long ]; then
    same 2 --set pool.size=50 --set comm.overlap=false
    same 4 --set pool.size=3
fi

# Resumed in the midst: by the same way, by the other, and on one rank by itself.
legs() { # FOLDER RANKS WAY...: two steps each
    local folder=$1 n=$2 step=0 way
    shift 2
    for way in "$@"; do
        step=$((step + 2))
        run 0 start "$way" "$n" --steps $step --out "$folder" --set checkpoint.every=2 --set pool.size=3
    done
}
legs moved 2 auto staged auto; there=$(hash_said)
run 0 start auto 2 --steps 6 --fresh --out whole --set checkpoint.every=2 --set pool.size=3
equal "$(hash_said)" "$there" "a run that was not stopped"
[ "${2:-}" = --long ] || finish
legs stays 2 auto auto auto; equal "$(hash_said)" "$there" "legs on the GPUs alone"
legs one 1 auto auto auto; one=$(hash_said)
run 0 start auto 1 --steps 6 --fresh --out one-whole --set checkpoint.every=2 --set pool.size=3
equal "$(hash_said)" "$one" "one rank that was not stopped"
equal "$(hash_of one-whole)" "$one" "what the checkpoint holds"

# Shards of one rank make their images side by side: the bytes of as many ranks.
run 0 start auto 1 --steps 4 --fresh --out shards --set numerics.shards=2 --set pool.size=3; shards=$(hash_said)
run 0 start auto 2 --steps 4 --fresh --out shards --set numerics.shards=2 --set pool.size=3
equal "$(hash_said)" "$shards" "two shards of one rank, and of two"
finish
