# Nemesis: for a while a job of 4 ranks on 2 hosts under launch/run is killed, stopped, signalled and cut off at random, and
# starts again by itself; in the end it has the bytes of an undisturbed run, its events are consistent, and nothing is left.
# 50 s, with --long 2 h (GANDIST_SOAK: seconds).
. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
seconds=50 test=cluster.soak
[ "${1:-}" != --long ] || seconds=7200 test=cluster.soak_long
seconds=${GANDIST_SOAK:-$seconds}
use_seed 41 "$test"
lab_ttl=$((seconds + 1800))
lab_up 2
busy_recipe busy.yaml
job=(busy.yaml --set checkpoint.every=20 --set log.every=100 --set log.samples.every=1000000 --set train.steps=100000000
    --set watchdog.limit=4 --set watchdog.patience=20)

# What launch/run calls in place of mpirun; it becomes mpirun, so that signals reach it.
cat >mpirun-on-hosts <<END
#!/bin/bash
exec "$lab/hosts" mpirun ${handed_on[*]} --wdir "$PWD" "\$@"
END
chmod +x mpirun-on-hosts
GANDIST=$GANDIST_BIN GANDIST_BACKOFF=0 MPIRUN=$PWD/mpirun-on-hosts \
    bash "$GANDIST_SOURCE_DIR/launch/run" -np 4 --map-by node --restarts 100000 "${job[@]}" --out job >job.log 2>&1 &
runner=$!

named() { local pid; for pid in $(hosts pids node1) $(hosts pids node2); do [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] && echo "$pid"; done; }
one_of() { local all=("$@"); [ $# -gt 0 ] && echo "${all[RANDOM % $#]}"; }
# A cut that stays would make all that follows pointless: tried again, and told.
mend() {
    for _ in $(seq 1 50); do
        hosts heal node2 2>>mend.log && return
        sleep 0.1
    done
    echo "node2 stays cut off"
}
strike() { # what it does, and to whom; false: there is nobody to hit, between two starts
    local ranks victim
    mapfile -t ranks < <(named gandist)
    victim=$(one_of "${ranks[@]}") || return 1
    case $((RANDOM % 10)) in
        0 | 1) echo "kill $victim"; kill -KILL "$victim" ;;
        2) echo "kill mpirun"; kill -KILL "$(one_of $(named mpirun))" ;;
        3) echo "kill orted"; kill -KILL "$(one_of $(named orted))" ;;
        4) echo "stop $victim"; kill -STOP "$victim"; sleep $((RANDOM % 2 ? 1 : 7)); kill -CONT "$victim" ;;
        5) echo "USR1 $victim"; kill -USR1 "$victim" ;;
        6) echo "USR2 $victim"; kill -USR2 "$victim" ;;
        7) echo "TERM $victim"; kill -TERM "$victim" ;;
        8) echo "cut node2"; hosts cut node2; sleep $((RANDOM % 2 ? 1 : 8)); mend ;;
        9) echo "slow node2"; hosts limit node2 --rate 1mbit; sleep 2; hosts limit node2 off ;;
    esac
    return 0
} 2>/dev/null

until=$((SECONDS + seconds)) strikes=0
wait_for 60 has_event job save
while [ $SECONDS -lt $until ]; do
    sleep "$((RANDOM % 2)).$((RANDOM % 10))"
    kill -0 $runner 2>/dev/null || break
    rm -f job/starts.json # strikes come faster than checkpoints now and then
    strike >>strikes.txt && strikes=$((strikes + 1))
done
checks=$((checks + 1)); ! grep -q "stays cut off" strikes.txt || fail "the lab: $(tail -n 1 mend.log)"
checks=$((checks + 1)); kill -0 $runner 2>/dev/null || fail "launch/run gave up: $(tail -n 20 job.log)"
heal_all
# It trains again, undisturbed, and is then told to end.
rm -f job/starts.json
saves=$(grep -c '"event":"save"' job/events.jsonl)
wait_for 90 has_event job save $((saves + 2))
kill -TERM $runner
for _ in $(seq 1 600); do kill -0 $runner 2>/dev/null || break; sleep 0.1; done
wait $runner
equal $? 75 "exit code of launch/run"
nothing_left "$strikes strikes"
starts=$(grep -c '"event":"\(re\)\?start"' job/events.jsonl)
echo "$strikes strikes ($(cut -d ' ' -f 1 strikes.txt | sort | uniq -c | xargs)), $starts starts, step $(newest job)"
checks=$((checks + 1)); ((starts > strikes / 10)) || fail "only $starts starts after $strikes strikes"

# As a history: no start goes on from before what was saved.
python3 - <<'PY' || fail "events are not consistent"
import json
newest, bad, lines = 0, [], 0
for line in open("job/events.jsonl", errors="replace"):
    try: e = json.loads(line)
    except ValueError: continue # cut by a kill
    lines += 1
    if e["event"] == "save": newest = max(newest, e["step"])
    if e["event"] == "restart" and e["step"] < newest: bad.append((newest, e))
assert lines > 3
if bad: print("started from before a save:", bad[:3])
raise SystemExit(bool(bad))
PY
checks=$((checks + 1))
ends_equal job "${job[@]}"
finish
