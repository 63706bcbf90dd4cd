# A real Slurm on 5 hosts (../shared/cluster), three jobs at once, with scripts from `gandist slurm`: one under srun is told
# twice that its turn is over (--signal) and requeued; one under mpirun runs into its time limit of a minute, saves in time
# by its own clock and is requeued; one loses a node. Each goes on by itself, and ends with the bytes of an undisturbed run.
# With --long 10 rounds, srun and mpirun in turn, nodes that crash and nodes that are cut off in turn.
. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
rounds=1
[ "${1:-}" != --long ] || rounds=10
lab_up 5
"$lab/slurm" up 5 || { code=$?; [ $code = 77 ] && echo "skipped: no Slurm here"; exit $code; }
tiny_recipe tiny.yaml
job=(tiny.yaml --set numerics.shards=4 --set log.every=50 --set log.samples.every=1000000 --set checkpoint.every=20 --set train.steps=1000000)

state() { slurm scontrol show job "$1" | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p'; }
is_over() { case $(state "$1") in COMPLETED | FAILED | CANCELLED | TIMEOUT | NODE_FAIL) return 0 ;; *) return 1 ;; esac; }
# submit NAME NODES RANKS LAUNCHER TIME NODELIST: prints the job's number.
submit() {
    g slurm "${job[@]}" --nodes "$2" --tasks-per-node "$3" --launcher "$4" --time "$5" --out "$1" >"$1.sbatch" 2>"$1.err" || fail "$1: $(cat "$1.err")"
    # Slurm's signal may come a minute early: of a turn of one minute it would leave nothing.
    [ "$5" != 1 ] || sed -i '/^#SBATCH --signal/d' "$1.sbatch"
    slurm sbatch --parsable --job-name "$1" --nodelist "$6" "$1.sbatch"
}
starts() { has_event "$1" '\(re\)\?start' "$2" && has_event "$1" save "$2"; }
said() { echo "  $SECONDS s: $*"; }
# Slurm drains a node whose old step it could not end in time; an administrator gives it back.
drained() { slurm sinfo --noheader --nodes "$1" --format %T | grep -q '^drain'; }
starts_on() { # NAME TURN [NODE]
    if [ -n "${3:-}" ] && drained "$3"; then slurm scontrol update nodename="$3" state=resume && said "$3 was drained"; fi
    starts "$1" "$2"
}
trains() { wait_for 150 starts_on "$@" || fail "$1: no start $2: $(tail -n 12 "$1"-*.log)"; said "$1 is at turn $2"; }
launchers=(srun mpirun) faults=(crash cut) repairs=(boot heal)

for ((round = 0; round < rounds; round++)); do
    first=${launchers[round % 2]} second=${launchers[(round + 1) % 2]} fault=${faults[round / 2 % 2]} repair=${repairs[round / 2 % 2]}
    told=told-$round limit=limit-$round lost=lost-$round
    told_id=$(submit $told 2 2 "$first" 60 node1,node2)
    limit_id=$(submit $limit 1 2 "$second" 1 node3)
    lost_id=$(submit $lost 2 1 "$first" 60 node4,node5)

    trains $lost 1
    hosts "$fault" node5
    trains $told 1
    slurm scancel --batch --signal=USR2 "$told_id"
    trains $told 2
    slurm scancel --batch --signal=USR2 "$told_id"
    trains $told 3
    equal "$(grep -c '"reason":"signal","exit":75' $told/events.jsonl)" 2 "$told: turns that the signal ended"

    wait_for 90 eval '[ "$(state $lost_id)" != RUNNING ]'
    said "the loss of node5 is noticed"
    hosts "$repair" node5
    # The daemon of a node that was only cut off is alive; to restart it while the job's new step begins there would lose that step to it.
    # On a busy machine Slurm may not notice a booted one within the lab's 30 s.
    [ "$fault" = cut ] || "$lab/slurm" boot node5 || "$lab/slurm" boot node5 || fail "node5 does not come back"
    trains $lost 2 node5
    trains $limit 2
    equal "$(stop_of $limit | cut -d ' ' -f 1-3)" "time limit 75" "$limit: how its first turn ended"
    for name in told limit lost; do
        id=${name}_id
        slurm scancel "${!id}"
        wait_for 60 is_over "${!id}"
        said "$name has ended"
        equal "$(state "${!id}")" CANCELLED "$name: state in the end"
        checks=$((checks + 1))
        grep -q '"event":"restart"' $name-$round/events.jsonl || fail "$name: was never started again"
    done
    nothing_left "round $round"
    for name in told limit lost; do ends_equal $name-$round "${job[@]}"; done
done
finish
