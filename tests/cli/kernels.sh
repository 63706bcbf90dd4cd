# numerics.kernels: timed once and recorded; a record is followed by later starts, other runs and all ranks.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tiny_recipe tiny.yaml
export XDG_CACHE_HOME=$work/cache
# Wide enough for several implementations.
job=(tiny.yaml --set generator.width=16 --set discriminator.width=16 --set log.samples.every=0)
timed=(--set numerics.kernels=timed)
choices() { grep -c '/f32 ' "$1"; }
record_in() { mkdir -p "$2" && cp "$1" "$2/kernels.txt"; }

# The rule needs no timing, and is recorded too.
run 0 g "${job[@]}" --out ruled; lacks "kernels:"
is_file ruled/kernels.txt
equal "$(grep -c ' timed' ruled/kernels.txt)" 0 "choices by time in a run by the rule"
checks=$((checks + 1)); grep -q ' winograd rule$' ruled/kernels.txt || fail "the rule takes no Winograd: $(cat ruled/kernels.txt)"
# Operands are as they are unless numerics.tf32 says otherwise, and the processor has what for.
equal "$(grep -c ' amx-halves' ruled/kernels.txt)" 0 "halves that nobody asked for"
run 0 g "${job[@]}" --out halved --set numerics.tf32=true
if grep -q '^machine.* amx;' halved/kernels.txt; then
    checks=$((checks + 1)); grep -q ' amx-halves rule$' halved/kernels.txt || fail "no halves: $(cat halved/kernels.txt)"
    lacks "numerics.tf32 changes nothing"
else
    equal "$(grep -c ' amx-halves' halved/kernels.txt)" 0 "halves without tiles"; says "numerics.tf32 changes nothing"
fi
equal "$(ls cache 2>/dev/null)" "" "a cache without timing"

# Timed: said once, recorded, kept for the next start.
run 0 g "${job[@]}" "${timed[@]}" --out half --steps 6; says "kernels: "; says " timed in "
checks=$((checks + 1)); grep -q ' timed .*ms .*ms' half/kernels.txt || fail "no times recorded: $(cat half/kernels.txt)"
equal "$(choices half/kernels.txt)" "$(choices ruled/kernels.txt)" "number of choices"
equal "$(ls cache/gandist | wc -l)" 1 "files in the cache"
run 0 g "${job[@]}" "${timed[@]}" --out again --steps 6; says "kernels: 0 timed"; says " timed earlier"
equal "$(cat again/kernels.txt)" "$(cat half/kernels.txt)" "record of a start that found the cache"
equal "$(hash_of again)" "$(hash_of half)" "hash with cached choices"
run 0 g "${job[@]}" "${timed[@]}" --out quiet --steps 2 --json; lacks "kernels:"

# A run that goes on follows its record, and so does another run that is given it; neither times anything.
rm -r cache
cp half/kernels.txt half.txt
run 0 g "${job[@]}" "${timed[@]}" --out half; says "kernels: 0 timed"; says " as recorded"
equal "$(cat half/kernels.txt)" "$(cat half.txt)" "record after going on"
record_in half.txt whole
run 0 g "${job[@]}" "${timed[@]}" --out whole; says "kernels: 0 timed"
equal "$(cat whole/kernels.txt)" "$(cat half.txt)" "record that was given"
equal "$(hash_of whole)" "$(hash_of half)" "hash after going on, and undisturbed"
equal "$(ls cache 2>/dev/null)" "" "a cache of what was not timed"

# Two ranks take rank 0's choices: one rank that computes both shards by the same record ends with the same bytes.
two=(--set numerics.shards=2 "${timed[@]}")
run 0 mpi 2 "${job[@]}" "${two[@]}" --out two --steps 6
equal "$(grep -c 'kernels: ' <<<"$out")" 1 "lines about kernels of two ranks"
cp two/kernels.txt two.txt
run 0 mpi 2 "${job[@]}" "${two[@]}" --out two; says "kernels: 0 timed"
equal "$(cat two/kernels.txt)" "$(cat two.txt)" "record after two ranks went on"
record_in two.txt one
run 0 g "${job[@]}" "${two[@]}" --out one; says "kernels: 0 timed"
equal "$(hash_of one)" "$(hash_of two)" "hash of one rank and two with one record"

# Other shapes, as of another number of ranks, are timed and added.
run 0 mpi 2 "${job[@]}" "${timed[@]}" --out half --set train.steps=14; says " as recorded"
checks=$((checks + 1))
[ "$(choices half/kernels.txt)" -gt "$(choices half.txt)" ] || fail "nothing was added: $(cat half/kernels.txt)"
equal "$(grep '/f32 ' half.txt | grep -vxFf half/kernels.txt)" "" "choices that were lost"

# Without Winograd: another result, by products alone.
run 0 g "${job[@]}" --out direct --set numerics.kernels=direct; lacks "kernels:"
equal "$(grep -Ec ' (winograd|amx-halves)' direct/kernels.txt)" 0 "Winograd or halves in a direct run"
checks=$((checks + 1)); [ "$(hash_of direct)" != "$(hash_of ruled)" ] || fail "direct changes nothing"
run 65 g "${job[@]}" --out ruled --set numerics.kernels=direct --set train.steps=14
says "ruled/kernels.txt: line "; says "numerics.kernels is direct"
rm ruled/kernels.txt
run 65 g "${job[@]}" --out ruled --set numerics.kernels=direct --set train.steps=14; says "numerics.kernels: rule -> direct"

# A damaged record is no record; without it choices are made anew.
sed -Ei 's/winograd|amx-halves/onednn/' whole/kernels.txt
run 65 g "${job[@]}" "${timed[@]}" --out whole --set train.steps=14; says "whole/kernels.txt: "; says "damaged"; says "remove it"
rm whole/kernels.txt
run 0 g "${job[@]}" "${timed[@]}" --out whole --set train.steps=14; says " timed in "

run 0 g bench "${job[@]}" "${timed[@]}" --steps 5; says "kernels: "; says "images/s"
run 0 g "${job[@]}" "${timed[@]}" --dry-run; says "activations, scratch"
run 64 g "${job[@]}" --out no --set numerics.kernels=tiemd; says "timed"
finish
