# launch/run: mpirun that is started again after crashes until the run is done, with the same bytes as undisturbed.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tiny_recipe tiny.yaml
launcher="$GANDIST_SOURCE_DIR/launch/run"
export GANDIST=$GANDIST_BIN GANDIST_BACKOFF=1
mpi_options=(--oversubscribe --allow-run-as-root -np 2)
job=(--set numerics.shards=2 --set log.every=50 --set log.samples.every=1000000 --set checkpoint.every=20)
run 0 bash "$launcher" --help; says "Trains with mpirun"
run 64 bash "$launcher" -np 2; says "no recipe"
run 64 bash "$launcher" "${mpi_options[@]}" tiny.yaml --out bad --set optimizer.g.lr=x; lacks "starting again"
run 64 bash "$launcher" "${mpi_options[@]}" tiny.yaml --out bad --time never; lacks "starting again"

ranks() { ps -o pid= --ppid "$(ps -o pid=,comm= --ppid "$1" | awk '$2 == "mpirun" {print $1}')" 2>/dev/null | tr -d ' '; }
saved() { ls job/checkpoints 2>/dev/null | grep -c '^step-[0-9]*$'; }
wait_for() { for _ in $(seq 1 400); do eval "$1" && return 0; sleep 0.05; done; fail "never: $1: $(tail -n 5 run.log)"; }
starts() { grep -c '"event":"\(re\)\?start"' job/events.jsonl 2>/dev/null; }

bash "$launcher" "${mpi_options[@]}" tiny.yaml --out job "${job[@]}" --set train.steps=1000000 --steps 800 >run.log 2>&1 &
pid=$!
wait_for '[ "$(saved)" -gt 0 ]'
victims=($(ranks $pid)); kill -9 "${victims[1]}" # a rank
wait_for '[ "$(starts)" -ge 2 ]'
wait_for 'victims=($(ranks $pid)); [ ${#victims[@]} = 2 ]'
kill -9 "$(ps -o pid=,comm= --ppid $pid | awk '$2 == "mpirun" {print $1}')" # the launcher
wait $pid
equal $? 0 "exit code after two crashes"
out=$(cat run.log); says "(restart 1 of at most 100)"; says "(restart 2 of at most 100)"; says "done at step 800"
equal "$(starts)" 3 "starts"
run 0 g tiny.yaml --out whole "${job[@]}" --set train.steps=1000000 --steps 800
equal "$(hash_of job)" "$(hash_of whole)" "hash after two crashes"

# A turn that is over (75) is followed by the next one; TERM to the script saves and ends it.
bash "$launcher" "${mpi_options[@]}" tiny.yaml --out turns "${job[@]}" --set train.steps=1000000 --time 00:00:02 >turns.log 2>&1 &
pid=$!
for _ in $(seq 1 400); do grep -q '"event":"restart"' turns/events.jsonl 2>/dev/null && break; sleep 0.05; done
kill -TERM $pid
wait $pid
equal $? 75 "exit code after TERM"
equal "$(grep -c '"reason":"time limit"' turns/events.jsonl)" 1 "turns that the time limit ended"
out=$(cat turns.log); says "status 75; starting again"; says "saved on request"
run 0 g verify turns; says ok

# --restarts bounds it.
run 75 bash "$launcher" "${mpi_options[@]}" --restarts 1 tiny.yaml --out few "${job[@]}" --set train.steps=1000000 --time 00:00:01
says "giving up"
equal "$(grep -c '"event":"restart"' few/events.jsonl)" 1 "restarts"
finish
