#!/bin/bash
# Trainings whose gradients are summed between GPUs by NCCL, on the fake libraries: the bytes of sums in host memory; which of the two
# is chosen, and why; what fails and what hangs. Usage: FOLDER of the fake libraries [--long]
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh"
export GANDIST_CUDA_LIBRARIES=${1:?} XDG_CACHE_HOME=$work/cache
tiny_recipe tiny.yaml
points_recipe points.yaml
host="gradients between GPUs through host memory"

. "$(dirname "${BASH_SOURCE[0]}")/ranks.sh"
few="--steps 3 --fresh --set checkpoint.every=0 --set log.samples.every=0"

# The same bytes by either way: 2 and 4 ranks, with and without overlap, both networks. Those of tiny.yaml have batch statistics over
# ranks: sums among the steps, within graphs from the second step on.
for n in 2 4; do
    ranks=(A=1 A=1 A=1 A=1)
    for recipe in points.yaml tiny.yaml; do
        [ $recipe$n = tiny.yaml4 ] && [ "${2:-}" != --long ] && continue
        for overlap in true false; do
            # shellcheck disable=SC2086
            run 0 start "${ranks[@]:0:n}" -- $recipe $few --set comm.overlap=$overlap --out nccl
            says "gradients between GPUs by NCCL 2.28.9"
            nccl=$(hash_said)
            # shellcheck disable=SC2086
            run 0 start GANDIST_CUDA_COMM=staged "${ranks[@]:1:n-1}" -- $recipe $few --set comm.overlap=$overlap --out staged
            says "$host (GANDIST_CUDA_COMM=staged)"
            equal "$nccl" "$(hash_said)" "$recipe on $n ranks, overlap $overlap: NCCL against host memory"
            [ -n "$nccl" ] || fail "no state_hash"
        done
    done
done

# Statistics of each rank: the running ones alone are summed.
# shellcheck disable=SC2086
{
    run 0 start A=1 A=1 -- tiny.yaml $few --set numerics.batch_stats=rank --out nccl; nccl=$(hash_said)
    run 0 start GANDIST_CUDA_COMM=staged A=1 -- tiny.yaml $few --set numerics.batch_stats=rank --out staged
    equal "$nccl" "$(hash_said)" "statistics of each rank: NCCL against host memory"
}

# Networks of three buckets, that begin one after another in the backward pass, eager in the first step and captured from then on.
wide="--steps 4 --fresh --set checkpoint.every=0 --set log.samples.every=0 --set generator.width=1100 --set discriminator.width=1100
    --set generator.depth=3 --set discriminator.depth=3"
# shellcheck disable=SC2086
{
    run 0 start A=1 A=1 -- points.yaml $wide --out wide; nccl=$(hash_said)
    run 0 start GANDIST_CUDA_COMM=staged A=1 -- points.yaml $wide --out wide; says "$host (GANDIST_CUDA_COMM=staged)"
    equal "$nccl" "$(hash_said)" "three buckets: NCCL against host memory"
    run 0 start A=1 A=1 -- points.yaml $wide --out wide --set comm.overlap=false
    equal "$nccl" "$(hash_said)" "three buckets: without overlap"
}

# A checkpoint goes on by the other way.
for way in auto staged auto; do
    steps=$((${steps:-0} + 2))
    run 0 start GANDIST_CUDA_COMM=$way A=1 -- points.yaml --steps $steps --out moved --set checkpoint.every=2
done
moved=$(hash_said)
run 0 start A=1 A=1 -- points.yaml --steps 6 --out stayed --set checkpoint.every=2
equal "$moved" "$(hash_said)" "a checkpoint that moved between NCCL and host memory"

# Which, and why: every rank the same.
# shellcheck disable=SC2086
{
    run 0 start FAKE_BUS=1 FAKE_BUS=1 -- points.yaml $few --out why; says "$host (ranks 0 and 1 share a GPU)"
    run 0 start A=1 A=1 FAKE_BUS=1 A=1 -- points.yaml $few --out why; says "$host (ranks 1 and 2 share a GPU)"
    run 0 start A=1 FAKE_NCCL=old -- points.yaml $few --out why; says "$host (rank 1: nccl: libnccl.so.2 is version 2.18.5; expected 2."
    run 0 start A=1 FAKE_NCCL=newer -- points.yaml $few --out why; says "$host (rank 0 has NCCL 2.28.9, rank 1 has 2.29.7)"
    run 0 start A=1 A=1 -- points.yaml $few --set numerics.shards=4 --out why; says "$host (numerics.shards asks for sums in one order"
    run 0 start A=1 A=1 -- points.yaml $few --set optimizer.shard=true --out why; says "by NCCL 2.28.9, each slice on the rank that updates it"
    run 0 start A=1 GANDIST_CUDA_COMM=staged -- points.yaml $few --out why; says "by NCCL 2.28.9" # rank 0's word counts
    run 0 start A=1 -- points.yaml $few --out why; lacks "gradients between GPUs"
    run 0 mpi 2 points.yaml $few --out why --device cpu; lacks "gradients between GPUs"
    run 69 start GANDIST_CUDA_COMM=nccl FAKE_BUS=0 -- points.yaml $few --out why
    says "GANDIST_CUDA_COMM=nccl: gradients cannot be summed by NCCL: ranks 0 and 1 share a GPU"
    run 64 start GANDIST_CUDA_COMM=fast A=1 -- points.yaml $few --out why; says "GANDIST_CUDA_COMM=fast: expected auto, nccl or staged"
}

# What fails: the message says which network, which rank, which sum. What hangs: the watchdog ends it.
# shellcheck disable=SC2086
{
    run 69 start FAKE_NCCL=async FAKE_NCCL=async -- tiny.yaml $few --out fails
    says "nccl: communicator batch statistics, rank "; says "a cable was pulled"; says "all-reduce of"
    run 69 start FAKE_NCCL=async FAKE_NCCL=async -- points.yaml $few --out fails
    says "nccl: communicator gradients of D, rank "; says "a cable was pulled"; says "all-reduce of"
    run 86 start A=1 FAKE_NCCL=stuck -- points.yaml --steps 20 --fresh --out hangs --set watchdog.limit=20 --set watchdog.factor=2 --set watchdog.patience=30
    says "the job hangs: rank "; says "step 2, gradients of " # of either: both communicators stop
}
finish
