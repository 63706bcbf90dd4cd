# What is slow is no hang: a rank that gets a third of its time, a save and sample sheets that take several times the limit,
# all at once in three jobs. With --long: 30 times, with the limits as they are by default, saves of 30 s, sheets of 60 s.
. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
[ -e "$at_point" ] || { echo "skipped: no $at_point"; exit 77; }
busy_recipe busy.yaml
times=1 save=8 sheet=8 job=(busy.yaml --set watchdog.limit=2 --set watchdog.factor=2 --set watchdog.patience=120 --set checkpoint.wait=true)
[ "${1:-}" != --long ] || times=10 save=30 sheet=60 job=(busy.yaml --set checkpoint.wait=true)
use_seed 21 cluster.slow

# a_third PID SECONDS: runs for 50 ms of 150.
a_third() {
    local until=$((SECONDS + $2))
    while [ $SECONDS -lt $until ] && kill -STOP "$1" 2>/dev/null; do
        sleep 0.1
        kill -CONT "$1" 2>/dev/null
        sleep 0.05
    done
}
# no_alarm NAME: it ended well, and nobody spoke of a hang.
no_alarm() {
    local code=$?
    equal $code "$2" "$1: exit code"
    out=$(cat "$1.log")
    lacks "hangs"
}

for ((i = 1; i <= times; i++)); do
    rank=$((RANDOM % 2))
    AT_POINT=sync AT_COUNT=2 AT_RANK=$rank AT_SLEEP=$save at_a_point at-save 2 "${job[@]}" --out save-$i --steps 30 >save-$i.log 2>&1 &
    saver=$!
    AT_POINT=samples AT_COUNT=1 AT_RANK=0 AT_SLEEP=$sheet at_a_point at-sheet 2 "${job[@]}" --out sheet-$i --steps 30 >sheet-$i.log 2>&1 &
    sheeter=$!
    at_a_point at-slow 2 "${job[@]}" --out slow-$i --set train.steps=1000000 >slow-$i.log 2>&1 & # only for its pid files
    slow=$!
    wait_for 20 has_event slow-$i save
    a_third "$(cat at-slow/pid.$rank)" $save
    touch slow-$i/stop
    wait $slow; no_alarm slow-$i 75
    wait $saver; no_alarm save-$i 0
    checks=$((checks + 2))
    [ -e at-save/hit ] || fail "the save was not slow"
    wait $sheeter; no_alarm sheet-$i 0
    nothing_left "round $i"
    [ -e at-sheet/hit ] || fail "the sheet was not slow"
    equal "$(hash_of save-$i)" "$(hash_of sheet-$i)" "hash of two jobs that were slow"
    echo "round $i: rank $rank at a third for $save s, a save of $save s, a sheet of $sheet s: no alarm; $(newest slow-$i) steps"
done
# That the limit would have been passed is seen where somebody says that it takes long.
[ "${1:-}" = --long ] || { out=$(cat sheet-1.log); says "this counts as a hang after"; }
finish
