# On a real Slurm of two nodes (../shared/cluster): a job from gandist slurm is stopped by the site's signal, requeued, and
# ends with the bytes of an undisturbed run; a cancelled one saves and does not come back; srun without PMIx is refused.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
lab="$GANDIST_SOURCE_DIR/../shared/cluster"
[ -x "$lab/slurm" ] || { echo "skipped: no ../shared/cluster"; exit 77; }
GANDIST_LAB_DIR="$(mktemp -d)/lab" && export GANDIST_LAB_DIR GANDIST_LAB_TTL=600
trap '"$lab/hosts" down >/dev/null 2>&1' EXIT
"$lab/hosts" up 2 && "$lab/slurm" up || { code=$?; [ $code = 77 ] && echo "skipped: the cluster cannot run here"; exit $code; }
slurm() { "$lab/slurm" run "$@"; }
tiny_recipe tiny.yaml
job=(tiny.yaml --set numerics.shards=4 --set log.every=50 --set log.samples.every=1000000 --set checkpoint.every=20)
event() { for _ in $(seq 1 1200); do [ "$(grep -c "$2" "$1/events.jsonl" 2>/dev/null)" -ge "${3:-1}" ] && return; sleep 0.05; done; fail "never $2 in $1: $(cat ./*.log)"; }
state() { slurm scontrol show job "$1" | sed -n 's/.*JobState=\([A-Z]*\).*/\1/p'; }
ends() { for _ in $(seq 1 600); do case $(state "$1") in COMPLETED | FAILED | CANCELLED) return ;; esac; sleep 0.1; done; fail "job $1 does not end"; }
submit() { slurm sbatch --parsable "$@"; }

g slurm "${job[@]}" --nodes 2 --tasks-per-node 2 --time 10 --out turns --set train.steps=250 >turns.sbatch 2>turns.err
id=$(submit turns.sbatch)
event turns '"event":"save"'
slurm scancel --batch --signal=USR2 "$id"
event turns '"event":"restart"'
ends "$id"
equal "$(state "$id")" COMPLETED "the job after a signal and another turn"
equal "$(grep -c '"event":"\(re\)\?start"' turns/events.jsonl)" 2 "turns"
run 0 g "${job[@]}" --out whole --set train.steps=250
equal "$(hash_of turns)" "$(hash_of whole)" "hash after a signal and another turn"
run 0 g status turns; says "turns: done"; says "4 on node1 node2"
out=$(cat tiny-*.log); says "4 ranks on 2 hosts"; says "node1, node2: 2 ranks each"; says "one rank of each host"
says "going on from step"
equal "$(grep -c 'saved on request; start again' tiny-*.log)" 1 "how often it is said that it saved"

g slurm "${job[@]}" --nodes 1 --tasks-per-node 2 --launcher mpirun --time 10 --out cancelled --set train.steps=1000000 >cancelled.sbatch
id=$(submit cancelled.sbatch)
event cancelled '"event":"save"'
slurm scancel "$id"
ends "$id"
equal "$(state "$id")" CANCELLED "a cancelled job"
run 0 g verify cancelled; says ok

run 69 slurm srun -n 2 --mpi=none "$GANDIST_BIN" "${job[@]}" --out alone
says "started 2 times by srun"
equal "$(grep -c 'each process is alone' <<<"$out")" 1 "how often it is said that processes are alone"
checks=$((checks + 1)); [ ! -e alone ] || fail "processes that are alone made a run folder"
finish
