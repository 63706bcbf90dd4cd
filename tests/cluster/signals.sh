# Signals in every phase: USR1, USR2, TERM, INT, HUP to the launcher, to rank 0 or to another rank, while a rank starts,
# loads, computes (D, penalty, G), meets the others, takes the next plan, saves, writes, syncs, commits, draws samples. It
# saves and goes on (USR1), or saves and leaves with 75; TERM, INT and HUP to mpirun are mpirun's, which kills after a
# second. The same job goes on after each, and ends with the bytes of an undisturbed run. 40 cases, with --long 330.
. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
[ -e "$at_point" ] || { echo "skipped: no $at_point"; exit 77; }
busy_recipe busy.yaml
cases=40 test=cluster.signals
[ "${1:-}" != --long ] || cases=330 test=cluster.signals_long
cases=${GANDIST_CASES:-$cases}
use_seed 11 "$test"
points=(start load compute meet plan save write sync commit samples)
signals=(USR1 USR2 TERM INT HUP)
targets=(launcher 0 1)
declare -A most=([start]=1 [load]=20 [compute]=4000 [meet]=100 [plan]=12 [save]=3 [write]=40 [sync]=4 [commit]=2 [samples]=2)

run 0 mpi 2 busy.yaml --out job --steps 10 # something to load
for ((i = 0; i < cases; i++)); do
    # Every point, signal and target comes with every other one as i grows.
    point=${points[i % 10]} signal=${signals[(i + i / 10) % 5]} target=${targets[(i + i / 10 + i / 50) % 3]}
    rank=$((RANDOM % 2)) count=$((1 + (RANDOM * 32768 + RANDOM) % ${most[$point]}))
    case $point in commit | samples) rank=0 ;; esac
    what="case $i: $signal to $target while rank $rank is at '$point' for the ${count}th time"
    before=$(newest job)
    rm -f job/starts.json
    AT_POINT=$point AT_COUNT=$count AT_RANK=$rank AT_SIGNAL=$(kill -l "$signal") AT_TARGET=$target \
        at_a_point at 2 busy.yaml --out job --steps $((before + 25)) >job.log 2>&1
    code=$?
    checks=$((checks + 2))
    [ -e at/hit ] || fail "$what: did not happen (exit $code) :: $(tail -n 5 job.log)"
    case $signal-$target in
        USR1-*) want=' 0 ' ;;
        *-launcher) [ "$signal" = USR2 ] && want=' 75 ' || want=' 1 75 129 130 137 143 ' ;;
        *) want=' 75 ' ;;
    esac
    [[ $want == *" $code "* ]] || fail "$what: exit $code, expected$want:: $(tail -n 5 job.log)"
    [[ $want == *' 1 '* ]] || { checks=$((checks + 1)); [ "$(newest job)" -gt "$before" ] || fail "$what: saved nothing"; }
    nothing_left "$what"
done
echo "$cases signals"
ends_equal job busy.yaml
finish
