# gandist slurm: the script it prints, and what that script does, with stand-ins for srun, squeue and scontrol.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tiny_recipe tiny.yaml
bad() { local why=$1; shift; run 64 g slurm "$@"; says "$why"; }
bad "--nodes N is needed" tiny.yaml
bad "out of range" tiny.yaml --nodes 0
bad "out of range" tiny.yaml --nodes -3
bad "out of range" tiny.yaml --nodes 99999999999
bad "wants an integer" tiny.yaml --nodes two
bad "out of range" tiny.yaml --nodes 1 --tasks-per-node 0
bad "out of range" tiny.yaml --nodes 1 --gpus 0
bad "out of range" tiny.yaml --nodes 1 --cpus-per-task 0
bad "out of range" tiny.yaml --nodes 1 --steps 0
bad "is no time" tiny.yaml --nodes 1 --time 1h
bad "leaves no time" tiny.yaml --nodes 1 --time 0
bad "--partition" tiny.yaml --nodes 1 --partition $'x\n#SBATCH --uid=0'
bad "--partition" tiny.yaml --nodes 1 --partition 'a b'
bad "--account" tiny.yaml --nodes 1 --account ''
bad "--name" tiny.yaml --nodes 1 --name -x
bad "expected srun or mpirun" tiny.yaml --nodes 1 --launcher mpiexec
bad "do not divide batch.global 16" tiny.yaml --nodes 3 --tasks-per-node 1
bad "batch.global=18" tiny.yaml --nodes 3 --tasks-per-node 1
bad "numerics.shards is 4" tiny.yaml --nodes 2 --tasks-per-node 4 --set numerics.shards=4
bad "did you mean" tiny.yaml --nodes 1 --set optimizer.g.lrx=1
run 66 g slurm nowhere.yaml --nodes 1; says "no such file"

# What is given is filled in, the rest is train.sbatch.
g slurm tiny.yaml --nodes 2 --tasks-per-node 2 --time 90 --partition gpu --account me --cpus-per-task 3 --launcher mpirun \
    --set "train.steps=6" --set "data.count=256" --out "a folder's" --steps 9 >job.sbatch 2>job.err
equal "$(cat job.err)" "" "what it says beside the script"
run 0 bash -n job.sbatch
out=$(cat job.sbatch)
for line in '#SBATCH --job-name=tiny' '#SBATCH --nodes=2' '#SBATCH --ntasks-per-node=2' '#SBATCH --time=90' \
    '#SBATCH --signal=B:USR2@180' '#SBATCH --requeue' '#SBATCH --open-mode=append' '#SBATCH --partition=gpu' \
    '#SBATCH --account=me' '#SBATCH --cpus-per-task=3' "#SBATCH --chdir=\"$PWD\""; do
    equal "$(grep -cxF -- "$line" job.sbatch)" 1 "lines '$line'"
done
lacks gpus
says "set -- tiny.yaml --set train.steps=6 --set data.count=256 --out 'a folder'\\''s' --steps 9 \"\$@\""
equal "$(sed '/^case/,$!d' job.sbatch)" "$(sed '/^case/,$!d' "$GANDIST_SOURCE_DIR/launch/slurm/train.sbatch")" "the body"
equal "$(sed -n '/^set -uo/q; /^#SBATCH/s/=.*//p' job.sbatch | sort | uniq -d)" "" "options given twice"
# All options stand before the first command, or sbatch would not see them.
equal "$(sed '1,/^set -uo/d' job.sbatch | grep -c '^#SBATCH')" 0 "options behind the first command"
GANDIST_PLUGIN_DIR=$work run 0 g slurm tiny.yaml --nodes 1 --gpus 2; says "#SBATCH --gpus-per-node=2"; says "#SBATCH --ntasks-per-node=2"; says "GPUs idle"
run 0 g slurm tiny.yaml --nodes 1 --time 00:02:00; says "B:USR2@20"
run 0 g slurm tiny.yaml --nodes 1; says "#SBATCH --time=04:00:00"
mkdir 'a "b"'; (cd 'a "b"' && run 64 g slurm ../tiny.yaml --nodes 1 && says "cannot be told to sbatch"; exit $failures) || fail "odd folder"

# Run it. The stand-in of srun starts one rank; USR2 reaches it as with the real one.
mkdir bin
cat >bin/srun <<'SH'
#!/bin/bash
echo "$*" >>srun.log
[ -z "${SRUN_FAILS:-}" ] || exit "$SRUN_FAILS"
shift
exec "$@"
SH
cat >bin/scontrol <<'SH'
#!/bin/bash
echo "$*" >>scontrol.log
SH
cat >bin/squeue <<'SH'
#!/bin/bash
date -d "+${JOB_LEFT:-3600} seconds" +%FT%T
SH
chmod +x bin/*
slurm_job=(env PATH="$PWD/bin:$PATH" SLURM_JOB_ID=77 SLURM_JOB_NODELIST=here)
g slurm tiny.yaml --nodes 1 --tasks-per-node 1 --out run --set train.steps=1000000 --set log.every=1000 \
    --set log.samples.every=1000000 --set checkpoint.every=0 >long.sbatch
started() { for _ in $(seq 1 200); do grep -q '"event":"\(re\)\?start"' run/events.jsonl 2>/dev/null && return; sleep 0.05; done; fail "run does not start"; }

"${slurm_job[@]}" bash long.sbatch >long.log 2>&1 & # the site's signal
pid=$!
started; kill -USR2 $pid; wait $pid
equal "$? $(cat scontrol.log)" "0 requeue 77" "after USR2 the job asks for another turn"
out=$(cat srun.log); says "--mpi=pmix $GANDIST_BIN tiny.yaml --set train.steps=1000000"
rm scontrol.log
JOB_LEFT=4 run 0 "${slurm_job[@]}" bash long.sbatch # its own clock
says "of the time limit are left"; says "== status 75"
equal "$(cat scontrol.log)" "requeue 77" "in time before the end the job asks for another turn"
rm scontrol.log run/events.jsonl
"${slurm_job[@]}" bash long.sbatch >long.log 2>&1 & # scancel
pid=$!
started; kill -TERM $pid; wait $pid
equal $? 75 "exit code of a cancelled job"
checks=$((checks + 1)); [ ! -e scontrol.log ] || fail "a cancelled job asked for another turn"
SLURM_RESTART_COUNT=100 JOB_LEFT=3 run 75 "${slurm_job[@]}" bash long.sbatch; says "requeued 100 times already"
checks=$((checks + 1)); [ ! -e scontrol.log ] || fail "a job asked for its 101st turn"
run 64 "${slurm_job[@]}" bash long.sbatch --set optimizer.g.lr=nonsense; says "== status 64"
run 0 "${slurm_job[@]}" bash long.sbatch --set train.steps=20 --out short; says "done at step 20"
SRUN_FAILS=88 run 88 "${slurm_job[@]}" bash long.sbatch
checks=$((checks + 1)); [ ! -e scontrol.log ] || fail "a job that is done or wrong asked for another turn"
SRUN_FAILS=168 run 0 "${slurm_job[@]}" bash long.sbatch; says "== status 168" # Slurm: Job credential revoked
equal "$(cat scontrol.log)" "requeue 77" "where Slurm could not launch the job asks for another turn"
finish
