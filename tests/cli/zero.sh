# optimizer.shard: the optimiser's state divided over the ranks. The same state hash as without, saved and resumed by
# any number of ranks with or without it, and --dry-run says what it saves. Repeat: ctest -R cli.zero
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tiny_recipe tiny.yaml
exact=(--set numerics.shards=24 --set batch.global=24 --set train.steps=6 --set checkpoint.every=0
    --set generator.width=16 --set discriminator.width=16 --set log.samples.every=6 --set optimizer.d.clip_norm=0.5 --quiet)
shard=(--set optimizer.shard=true)

run 0 g tiny.yaml --out whole "${exact[@]}"
whole=$(hash_of whole)
run 0 mpi 4 tiny.yaml --out a "${exact[@]}" "${shard[@]}"
equal "$(hash_of a)" "$whole" "hash of 4 ranks with optimizer.shard"
run 0 mpi 2 tiny.yaml --out printed "${exact[@]}" "${shard[@]}" --json
says "\"state_hash\":\"$whole\""

# ranks:with, three legs of two steps
for legs in "4:shard 2: 3:shard" "1: 4:shard 1:shard" "3:shard 4:shard 2:shard" "2:shard 8: 6:shard"; do
    step=0
    for leg in $legs; do
        step=$((step + 2)) with=()
        [ "${leg#*:}" != shard ] || with=("${shard[@]}")
        run 0 mpi "${leg%:*}" tiny.yaml --out b "${exact[@]}" ${with[@]+"${with[@]}"} --steps $step
    done
    equal "$(hash_of b)" "$whole" "hash after $legs"
    equal "$(ls b/checkpoints/step-000000000006/*.safetensors | wc -l)" "${leg%:*}" "shards of the last leg"
    rm -rf b
done

# Moments of 4 ranks: a quarter each, to a unit of 16 KB an arena.
optimizer_bytes() { mpi 4 tiny.yaml "${exact[@]}" "$@" --dry-run --json | grep -o '"optimizer_bytes":[0-9]*' | cut -d: -f2; }
all=$(optimizer_bytes) part=$(optimizer_bytes "${shard[@]}")
checks=$((checks + 1))
[ "$part" -gt 0 ] && [ $((4 * part)) -ge "$all" ] && [ $((4 * part)) -le $((all + 16 * 16384)) ] ||
    fail "optimizer: $part bytes of $all"
finish
