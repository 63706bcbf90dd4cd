# A rank of a running job is stopped (SIGSTOP), a random one at a random moment: the job ends with exit code 86 within the
# limit and 5 s, the report and events.jsonl name that rank, nothing is left running, and the next start goes on. 6 cases,
# with --long 50. Repeat all: GANDIST_SEED=n ctest -R cli.hang
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tiny_recipe tiny.yaml
cases=6
[ "${1:-}" != --long ] || cases=50
seed=${GANDIST_SEED:-1}
echo "seed $seed; repeat: GANDIST_SEED=$seed ctest -R 'cli.hang$' --output-on-failure"
RANDOM=$seed
limit=2
job=(tiny.yaml --set numerics.shards=4 --set checkpoint.every=20 --set train.steps=1000000 --set log.every=5
    --set log.samples.every=1000000 --set watchdog.limit=$limit --set watchdog.factor=2 --set watchdog.patience=60)

children() { ps -o pid= --ppid "$1" | tr -d ' '; }
gone() { for _ in $(seq 1 300); do kill -0 "$1" 2>/dev/null || return 0; sleep 0.05; done; fail "process $1 is still there"; }
stop_event() { python3 - "$1" <<'PY'
import json, sys
e = [e for e in map(json.loads, open(sys.argv[1] + "/events.jsonl")) if e["event"] == "stop"][-1]
print(e["reason"], e["exit"], e["said"])
PY
}

for try in $(seq 1 $cases); do
    ranks=$((try % 2 ? 2 : 4)) out=job-$try
    mpirun --oversubscribe --allow-run-as-root -np $ranks "$GANDIST_BIN" "${job[@]}" --out $out >job.log 2>&1 &
    launcher=$!
    for _ in $(seq 1 600); do # it has its first steps behind it, and a checkpoint to go on from
        grep -q '"event":"save"' $out/events.jsonl 2>/dev/null && break
        sleep 0.05
    done
    processes=($(children $launcher))
    checks=$((checks + 1)); [ ${#processes[@]} = $ranks ] || fail "case $try: $ranks ranks, and processes ${processes[*]}"
    victim=$((try == 1 ? 0 : RANDOM % ranks))
    sleep "0.$((RANDOM % 90 + 10))"
    began=$(date +%s%N)
    kill -STOP "${processes[victim]}"
    wait $launcher
    code=$?
    took=$((($(date +%s%N) - began) / 1000000))
    equal $code 86 "case $try: exit code after rank $victim of $ranks stopped"
    checks=$((checks + 1)); ((took <= (limit + 5) * 1000)) || fail "case $try: took $took ms"
    checks=$((checks + 1)); ((took >= limit * 1000 - 100)) || fail "case $try: ended after $took ms, before the limit"
    out_text=$(<job.log)
    checks=$((checks + 1)); [[ $out_text == *"the job hangs: rank $victim does not run any more"* ]] || fail "case $try: rank $victim is not named :: $out_text"
    checks=$((checks + 1)); [[ $out_text == *"process ${processes[victim]}, is stopped"* ]] || fail "case $try: process :: $out_text"
    checks=$((checks + 1)); [[ $(stop_event $out) == "hang 86 the job hangs: rank $victim "* ]] || fail "case $try: event $(stop_event $out)"
    for p in "${processes[@]}"; do gone "$p"; done
    echo "case $try: rank $victim of $ranks, $took ms"
done
last=$(ls job-1/checkpoints | sed -n 's/^step-0*\([0-9][0-9]*\)$/\1/p' | tail -n 1)
run 0 g verify job-1; says ok
run 0 mpi 2 "${job[@]}" --out job-1 --steps $((last + 5))
run 0 g "${job[@]}" --out whole --steps $((last + 5))
equal "$(hash_of job-1)" "$(hash_of whole)" "hash after a hang"

# Ranks that are busy with each other for ever, and get nowhere: 86, too (their control words; the test has a hook for that).
test="$GANDIST_BUILD_DIR/tests/test_dist.hangs"
if [ -x "$test" ]; then
    for ranks in 2 4; do
        run 86 timeout 60 mpirun --oversubscribe --allow-run-as-root -np $ranks "$test" --turn
        says "the job hangs: rank 0-$((ranks - 1)) move, but nothing gets done"
        says "stack of rank 0, innermost first"
    done
fi

# A run whose watchdog is off, and settings that make no sense.
run 0 mpi 2 tiny.yaml --out off --set watchdog.limit=0
run 64 g tiny.yaml --out bad --set watchdog.limit=-1; says "watchdog.limit"
run 64 g tiny.yaml --out bad --set watchdog.factor=0.5; says "watchdog.factor"
finish
