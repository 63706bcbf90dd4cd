# A run that leaves before its last step: a time limit, Slurm's end of the job, a stop file, signals; with one rank and
# with several. It saves, ends with 75, says why in events.jsonl, and goes on to the bytes of an undisturbed run.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tiny_recipe tiny.yaml
endless=(--set train.steps=1000000 --set log.every=1000 --set log.samples.every=1000000 --set checkpoint.every=0)
reason() { python3 - "$1" <<'PY'
import json, sys
print([e for e in map(json.loads, open(sys.argv[1] + "/events.jsonl")) if e["event"] == "stop"][-1]["reason"])
PY
}
newest() { ls "$1/checkpoints" | sed -n 's/^step-0*\([0-9][0-9]*\)$/\1/p' | tail -n 1; }
training() { for _ in $(seq 1 200); do grep -q '"event":"\(re\)\?start"' "$1/events.jsonl" 2>/dev/null && return; sleep 0.05; done; fail "$1 does not start"; }
# goes_on FOLDER: with the same bytes at the end as if nothing had been.
goes_on() {
    local end=$(($(newest "$1") + 3))
    run 0 g tiny.yaml --out "$1" "${endless[@]}" "${@:2}" --steps $end
    run 0 g tiny.yaml --out "$1.whole" "${endless[@]}" "${@:2}" --steps $end
    equal "$(hash_of "$1")" "$(hash_of "$1.whole")" "hash of $1 at step $end"
}

# What is no time is refused before anything is made.
for bad in '' 0 00:00:00 -5 1.5 soon 10:00 01:60:00 1-2 99999999999 '1 '; do
    run 64 g tiny.yaml --out bad "--time=$bad"; says "--time"
done
run 64 g tiny.yaml --out bad --time; says "--time needs TIME"
checks=$((checks + 1)); [ ! -e bad ] || fail "a bad --time must make no run folder"

began=$SECONDS
run 75 g tiny.yaml --out timed "${endless[@]}" --time 00:00:03
says "of the time limit are left"; says "saved on request"
checks=$((checks + 1)); ((SECONDS - began <= 4)) || fail "--time 00:00:03 took $((SECONDS - began)) s"
equal "$(reason timed)" "time limit" "reason after --time"
run 0 g verify timed; says "ok"
goes_on timed

# Slurm's clock; the earlier end counts, one that is past is of another job.
SLURM_JOB_END_TIME=$(($(date +%s) + 4)) run 75 mpi 2 tiny.yaml --out job "${endless[@]}" --set numerics.shards=2 --time 60
equal "$(reason job)" "time limit" "reason at the job's end"
goes_on job --set numerics.shards=2
SLURM_JOB_END_TIME=12345 run 0 g tiny.yaml --out past; says "it is of another job"
SLURM_JOB_END_TIME=soon run 0 g tiny.yaml --out soon; says "not seconds since 1970"

# A stop file, obeyed once.
"$GANDIST_BIN" tiny.yaml --out filed "${endless[@]}" >filed.log 2>&1 &
pid=$!
training filed
touch filed/stop
wait $pid
equal $? 75 "exit code after a stop file"
equal "$(reason filed)" "stop file" "reason after a stop file"
checks=$((checks + 1)); [ ! -e filed/stop ] || fail "the stop file is still there"
goes_on filed

# Signals. USR1 saves and goes on; the others save and leave, rank 0 or not, from mpirun or not.
# A shell starts what is in its background with INT ignored; a person's terminal does not.
heedful='import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])'
for signal in USR2 TERM INT HUP; do
    python3 -c "$heedful" "$GANDIST_BIN" tiny.yaml --out by-$signal "${endless[@]}" >signal.log 2>&1 &
    pid=$!
    training by-$signal
    kill -$signal $pid
    wait $pid
    equal $? 75 "exit code after $signal"
    equal "$(reason by-$signal)" signal "reason after $signal"
    run 0 g verify by-$signal; says ok
done
mpirun --oversubscribe --allow-run-as-root -np 2 "$GANDIST_BIN" tiny.yaml --out ranks "${endless[@]}" >ranks.log 2>&1 &
pid=$!
training ranks
for _ in $(seq 1 100); do children=($(ps -o pid= --ppid $pid)); [ ${#children[@]} = 2 ] && break; sleep 0.05; done
kill -USR1 "${children[1]}"
for _ in $(seq 1 100); do grep -q '"event":"save"' ranks/events.jsonl && break; sleep 0.05; done
checks=$((checks + 1)); kill -0 $pid || fail "USR1 ended the run"
checks=$((checks + 1)); grep -q '"event":"save"' ranks/events.jsonl || fail "USR1 saved nothing"
kill -USR2 "${children[1]}"
wait $pid
equal $? 75 "exit code after USR2 to rank 1"
equal "$(reason ranks)" signal "reason after USR2 to rank 1"
# An ignored signal stays ignored (nohup).
(trap '' HUP; exec "$GANDIST_BIN" tiny.yaml --out nohup "${endless[@]}" --time 00:00:02 >nohup.log 2>&1) &
pid=$!
training nohup
kill -HUP $pid
wait $pid
equal "$(reason nohup)" "time limit" "reason after an ignored HUP"
finish
