# The walk through docs/checkpoints.md: killed on 4 ranks, resumed on 2 and on 8: the same state_hash as never
# stopped. A flipped byte is named by verify, and the older checkpoint is taken. One training a folder; starts in
# vain end. Repeat: ctest -R cli.checkpoints
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tiny_recipe tiny.yaml
exact=(--set numerics.shards=8 --set checkpoint.every=5 --set train.steps=60 --set log.samples.every=60 --set log.every=20)

run 0 g tiny.yaml --out whole "${exact[@]}"
whole=$(hash_of whole)

# committed N: waits until a checkpoint of that step or a later one is there. Its newest step in $newest.
committed() {
    for _ in $(seq 1 600); do
        newest=$(ls "$1/checkpoints" 2>/dev/null | sed -n 's/^step-0*\([0-9][0-9]*\)$/\1/p' | tail -n 1)
        [ -n "$newest" ] && [ "$newest" -ge "$2" ] && return
        sleep 0.05
    done
    fail "$1: no checkpoint of step $2"
}
ranks_of() { ps -o pid= --ppid "$1"; }

mpi 4 tiny.yaml --out job "${exact[@]}" --set train.steps=100000 >job.log 2>&1 &
mpirun=$!
committed job 10
# While it trains nobody else does, nor prunes; reading needs no lock.
run 73 g tiny.yaml --out job "${exact[@]}"; says "a training is using this run folder"
run 73 g tiny.yaml --out job "${exact[@]}" --fresh; says "a training is using this run folder"
run 73 g checkpoint prune job --keep 1; says "a training is using this run folder"
run 0 g verify job/checkpoints/$(ls job/checkpoints | grep 'step-[0-9]*$' | tail -n 1)
launcher=$(ranks_of $mpirun | tr -d ' ') # the shell of mpi(), then mpirun
pids=$(for p in $launcher; do ranks_of "$p"; done)
kill -9 $pids $launcher 2>/dev/null
wait $mpirun 2>/dev/null
for p in $pids; do for _ in $(seq 1 100); do kill -0 "$p" 2>/dev/null || break; sleep 0.05; done; done

# The steps of the recipe are part of what must not change: the run goes on under its own recipe.
run 0 mpi 2 tiny.yaml --out job "${exact[@]}" --set train.steps=100000 --steps $((newest + 40)); says "going on from step"
run 0 mpi 8 tiny.yaml --out job "${exact[@]}" --set train.steps=100000 --steps $((newest + 60)); says "going on from step"
run 0 g tiny.yaml --out alone "${exact[@]}" --set train.steps=100000 --steps $((newest + 60))
equal "$(hash_of job)" "$(hash_of alone)" "hash of 4, 2 and 8 ranks and one never stopped"

# A byte with dd.
shard=$(ls whole/checkpoints/step-000000000060/*.safetensors | head -n 1)
at=$(($(stat -c %s "$shard") / 2))
byte=$(dd if="$shard" bs=1 skip=$at count=1 status=none | od -An -tu1 | tr -d ' ')
printf "\\$(printf %o $((byte ^ 1)))" | dd of="$shard" bs=1 seek=$at conv=notrunc status=none
run 65 g verify whole; says "DAMAGED"; says "tensor '"; says "ok, step 55"
run 65 g checkpoint ls whole; says "damaged: "; says "good"
run 0 g verify --quick whole/checkpoints/step-000000000060
run 65 g verify --json whole; says '"state":"damaged"'; says '"reason":"'
run 0 g tiny.yaml --out whole "${exact[@]}"
says "step-000000000060 is not usable, going on to an older one"; says "going on from step 55"
equal "$(hash_of whole)" "$whole" "hash after falling back"
run 0 ls whole/checkpoints; says "damaged-step-000000000060"

# Other numbers of files: the same state, and it goes on from there.
run 0 g checkpoint reshard whole --shards 5; says "5 files now, state_hash $whole"
run 0 g checkpoint reshard whole --shards 1; says "1 files now, state_hash $whole"
run 64 g checkpoint reshard whole; says "--shards N"
run 64 g checkpoint prune whole; says "--keep N"
run 64 g checkpoint list whole; says "no action 'list'"
run 66 g checkpoint ls nowhere; says "no such run folder"
run 0 g checkpoint prune whole --keep 2 --dry-run; says "would remove"
run 0 g checkpoint prune whole --keep 2; says "removed whole/checkpoints/step-000000000050"; says "2 left"
run 0 g checkpoint ls whole --json; says '"step":60'; says '"state_hash":"'"$whole"'"'

# Starts that bring no new checkpoint: five are tried, then no more until something changes.
for i in 1 2 3 4 5; do run 73 g tiny.yaml --out whole "${exact[@]}" --resume never; done
run 93 g tiny.yaml --out whole "${exact[@]}"; says "5 starts in a row brought no new checkpoint"; says "--fresh"
says "a run from step 0 would mix with"
run 0 g tiny.yaml --out whole "${exact[@]}" --fresh
equal "$(hash_of whole)" "$whole" "hash of the run started anew"
finish
