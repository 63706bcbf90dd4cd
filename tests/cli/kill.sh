# Killed at random moments and started again with the same command, a run ends with the same bytes.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tiny_recipe tiny.yaml
begin=${EPOCHREALTIME/[.,]/}
run 0 g tiny.yaml --out whole --set train.steps=200 --set log.every=50 --set checkpoint.every=10
took=$((${EPOCHREALTIME/[.,]/} - begin)) # microseconds: kills come in the midst of a run on any machine
whole=$(hash_of whole)
use_seed 7 cli.kill
kills=0
for try in $(seq 1 12); do
    rm -f killed/starts.json # here many starts in a row may be too short for a checkpoint
    "$GANDIST_BIN" tiny.yaml --out killed --set train.steps=200 --set log.every=50 --set checkpoint.every=10 >kill.log 2>&1 &
    pid=$!
    after=$((took * (RANDOM % 70 + 10) / 100))
    sleep "$(printf %d.%06d $((after / 1000000)) $((after % 1000000)))"
    kill -9 $pid 2>/dev/null && kills=$((kills + 1))
    wait $pid 2>/dev/null
    # Whatever is there is whole; before the first save there is nothing.
    [ -z "$(ls killed/checkpoints 2>/dev/null | grep 'step-[0-9]*$')" ] || run 0 g verify killed
    [ "$(ls killed/checkpoints 2>/dev/null | grep -c 'step-000000000200$')" = 1 ] && break
done
equal "$((kills > 0))" 1 "at least one kill hit a running program"
rm -f killed/starts.json
run 0 g tiny.yaml --out killed --set train.steps=200 --set log.every=50 --set checkpoint.every=10
equal "$(hash_of killed)" "$whole" "hash after $kills kills"

# A request to stop: saves, leaves with 75, goes on later.
"$GANDIST_BIN" tiny.yaml --out asked --set train.steps=100000 --set log.every=1000 --set checkpoint.every=0 >asked.log 2>&1 &
pid=$!
for _ in $(seq 1 100); do grep -q "starting" asked.log && break; sleep 0.05; done
sleep 0.3
kill -USR2 $pid
wait $pid
equal $? 75 "exit code after USR2"
out=$(cat asked.log); says "saved on request"
run 0 g verify asked; says "ok"
finish
