# A job of 4 ranks is killed at random moments: a random rank, rank 0, the launcher, or all of them; then it is
# started again with the same command. It ends with the bytes of a run that was never killed, and leaves nothing
# running. 8 kills, with --long 200. Repeat: GANDIST_SEED=n ctest -R cli.kill_ranks
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tiny_recipe tiny.yaml
kills=8
[ "${1:-}" != --long ] || kills=200
seed=${GANDIST_SEED:-5}
echo "seed $seed"
RANDOM=$seed
job=(tiny.yaml --out job --set numerics.shards=4 --set checkpoint.every=5 --set train.steps=100000 --set log.every=50
    --set log.samples.every=100000)

children() { ps -o pid= --ppid "$1" | tr -d ' '; }
newest() { ls job/checkpoints 2>/dev/null | sed -n 's/^step-0*\([0-9][0-9]*\)$/\1/p' | tail -n 1; }
gone() { for _ in $(seq 1 300); do kill -0 "$1" 2>/dev/null || return 0; sleep 0.05; done; fail "process $1 is still there"; }

for try in $(seq 1 $kills); do
    rm -f job/starts.json # many starts in a row may be too short for a checkpoint
    mpirun --oversubscribe --allow-run-as-root -np 4 "$GANDIST_BIN" "${job[@]}" >job.log 2>&1 &
    launcher=$!
    for _ in $(seq 1 200); do
        ranks=($(children $launcher))
        [ ${#ranks[@]} = 4 ] && break
        sleep 0.02
    done
    sleep "$((RANDOM % 2)).$((RANDOM % 90 + 10))"
    case $((try % 4)) in
        0) victims=("${ranks[$((RANDOM % 4))]}") ;;
        1) victims=("${ranks[0]}") ;;
        2) victims=($launcher) ;;
        3) victims=("${ranks[@]}" $launcher) ;;
    esac
    kill -9 "${victims[@]}" 2>/dev/null
    wait $launcher 2>/dev/null
    for p in "${ranks[@]}"; do gone "$p"; done
    [ -z "$(newest)" ] || run 0 g verify job
done
last=$(newest)
[ -n "$last" ] || fail "no checkpoint after $kills kills: $(cat job.log)"
rm -f job/starts.json
run 0 g "${job[@]}" --steps $((last + 5))
run 0 g "${job[@]}" --out whole --steps $((last + 5))
equal "$(hash_of job)" "$(hash_of whole)" "hash after $kills kills, at step $((last + 5))"
finish
