#!/bin/bash
# Trainings with optimizer.shard on the fake libraries, by NCCL and through host memory: the bytes of trainings without it, captured and
# eager, with and without overlap; checkpoints that move; what fails and what hangs. Usage: FOLDER of the fake libraries [--long]
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh"
export GANDIST_CUDA_LIBRARIES=${1:?} XDG_CACHE_HOME=$work/cache
tiny_recipe tiny.yaml
points_recipe points.yaml
. "$(dirname "${BASH_SOURCE[0]}")/ranks.sh"
slices="--set optimizer.shard=true" long=${2:-}
few="--steps 3 --fresh --set checkpoint.every=0 --set log.samples.every=0"

# Slices of several units on every rank; a norm that is clipped.
wide="$few --set generator.width=300 --set discriminator.width=300 --set optimizer.g.clip_norm=0.01 --set optimizer.d.clip_norm=0.01"
# shellcheck disable=SC2086
{
    run 0 start A=1 A=1 -- points.yaml $wide --out wide; whole=$(hash_said)
    [ -n "$whole" ] || fail "no state_hash"
    for overlap in true ${long:+false}; do
        run 0 start A=1 A=1 -- points.yaml $wide --out wide $slices --set comm.overlap=$overlap
        says "gradients between GPUs by NCCL 2.28.9, each slice on the rank that updates it"
        equal "$whole" "$(hash_said)" "slices, overlap $overlap"
        run 0 start GANDIST_CUDA_COMM=staged A=1 -- points.yaml $wide --out wide $slices --set comm.overlap=$overlap
        says "gradients between GPUs through host memory (GANDIST_CUDA_COMM=staged)"
        equal "$whole" "$(hash_said)" "slices through host memory, overlap $overlap"
    done
    run 0 start GANDIST_PROFILE=1 GANDIST_PROFILE=1 -- points.yaml $wide --out wide $slices
    equal "$whole" "$(hash_said)" "slices, eager"
    run 0 start A=1 A=1 A=1 A=1 -- points.yaml $wide --out wide; whole=$(hash_said)
    run 0 start A=1 A=1 A=1 A=1 -- points.yaml $wide --out wide $slices
    equal "$whole" "$(hash_said)" "slices of four ranks"
}

# Networks of three buckets, which slices cut; batch statistics beside them.
# shellcheck disable=SC2086
{
    three="--set generator.width=1100 --set discriminator.width=1100 --set generator.depth=3 --set discriminator.depth=3"
    run 0 start A=1 A=1 -- points.yaml $few $three --out three; whole=$(hash_said)
    run 0 start A=1 A=1 -- points.yaml $few $three --out three $slices
    equal "$whole" "$(hash_said)" "slices of three buckets"
    run 0 start A=1 A=1 -- tiny.yaml $few --out tiny; whole=$(hash_said)
    run 0 start A=1 A=1 -- tiny.yaml $few --out tiny $slices
    equal "$whole" "$(hash_said)" "slices, with batch statistics"
}

# A checkpoint goes on by the other way.
steps=0
for leg in "auto true" "staged true" "auto false" "auto true"; do
    steps=$((steps + 2))
    run 0 start GANDIST_CUDA_COMM=${leg% *} A=1 -- points.yaml --steps $steps --out moved --set checkpoint.every=2 --set optimizer.shard=${leg#* }
done
moved=$(hash_said)
run 0 start A=1 A=1 -- points.yaml --steps 8 --out stayed --set checkpoint.every=2
equal "$moved" "$(hash_said)" "a checkpoint that moved between slices and all of it"

# What fails, and what hangs.
# shellcheck disable=SC2086
{
    run 69 start FAKE_NCCL=async FAKE_NCCL=async -- points.yaml $few --out fails $slices
    says "nccl: communicator gradients of D, rank "; says "a cable was pulled"; says " in parts "
    run 86 start A=1 FAKE_NCCL=stuck -- points.yaml --steps 20 --fresh --out hangs --set watchdog.limit=20 --set watchdog.factor=2 \
        --set watchdog.patience=30 $slices
    says "the job hangs: rank "; says "gradients of " # of either: both communicators stop
}
finish
