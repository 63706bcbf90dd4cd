# A job of 4 ranks is killed at random moments: a random rank, rank 0, the launcher, or all of them; then it is
# started again with the same command. It ends with the bytes of a run that was never killed, and leaves nothing
# running. 24 kills, with --long 200 (GANDIST_KILLS: another number).
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
points_recipe points.yaml
kills=24 test=cli.kill_ranks
[ "${1:-}" != --long ] || kills=200 test=cli.kill_ranks_long
kills=${GANDIST_KILLS:-$kills}
use_seed 5 "$test"
job=(points.yaml --out job --set numerics.shards=4 --set checkpoint.every=10)

children() { ps -o pid= --ppid "$1" | tr -d ' '; }
newest() { ls job/checkpoints 2>/dev/null | sed -n 's/^step-0*\([0-9][0-9]*\)$/\1/p' | tail -n 1; }
# Ended; its number may stay a while for a parent that does not ask.
ended() { [[ "$(ps -o stat= -p "$1")" != [^Z]* ]]; }
gone() { for _ in $(seq 1 300); do ended "$1" && return 0; sleep 0.05; done; fail "process $1 is still there"; }

for try in $(seq 1 $kills); do
    rm -f job/starts.json # many starts in a row may be too short for a checkpoint
    before=$(newest)
    mpirun --oversubscribe --allow-run-as-root -np 4 "$GANDIST_BIN" "${job[@]}" >job.log 2>&1 &
    launcher=$!
    for _ in $(seq 1 200); do
        ranks=($(children $launcher))
        [ ${#ranks[@]} = 4 ] && break
        sleep 0.02
    done
    # Half of them while it starts, the others while it trains and saves.
    if [ $((RANDOM % 2)) = 0 ]; then
        for _ in $(seq 1 200); do [ "$(newest)" = "$before" ] || break; sleep 0.02; done
    fi
    sleep "0.$(printf %03d $((RANDOM % 400)))"
    case $((try % 4)) in
        0) victims=("${ranks[$((RANDOM % 4))]}") ;;
        1) victims=("${ranks[0]}") ;;
        2) victims=($launcher) ;;
        3) victims=("${ranks[@]}" $launcher) ;;
    esac
    kill -9 "${victims[@]}" 2>/dev/null
    if [ $((try % 8)) != 0 ] && [ $((try % 8)) -lt 6 ]; then # the others go on for a moment; mpirun would take two seconds to end them
        sleep "0.$(printf %03d $((RANDOM % 200)))"
        kill -9 "${ranks[@]}" $launcher 2>/dev/null
    fi
    wait $launcher 2>/dev/null
    for p in "${ranks[@]}"; do gone "$p"; done
    [ -z "$(newest)" ] || run 0 g verify job
done
last=$(newest)
[ -n "$last" ] || fail "no checkpoint after $kills kills: $(cat job.log)"
rm -f job/starts.json
run 0 g "${job[@]}" --steps $((last + 5))
run 0 g "${job[@]}" --out whole --steps $((last + 5)) --set checkpoint.every=0
equal "$(hash_of job)" "$(hash_of whole)" "hash after $kills kills, at step $((last + 5))"
echo "$kills kills of 4 ranks; step $((last + 5)) has the hash of an undisturbed run"
finish
