# The command line itself: help, suggestions, exit codes.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
run 0 g --help; says "usage: gandist RECIPE"; says "arithmetic"
run 0 g --version; says "gandist "; says "oneDNN"
for c in train sample interpolate arithmetic translate evaluate export import verify status slurm bench schema; do
    run 0 g $c --help
    says "usage: gandist $c"
    says "example:"
done
run 64 g; says "which recipe?"
run 64 g smaple; says "did you mean 'sample'?"
run 64 g train; says "too few arguments"
run 64 g train a.yaml b.yaml; says "unexpected argument 'b.yaml'"
run 64 g train a.yaml --stesp 3; says "unknown option '--stesp'; did you mean '--steps'?"
run 64 g train a.yaml --steps many; says "--steps wants an integer, got 'many'"
run 64 g train a.yaml --steps; says "--steps needs N"
run 64 g train a.yaml --steps=-4; says "must not be negative"
run 64 g train a.yaml --time soon; says "is no time"
run 64 g train a.yaml -s; says "two dashes"
run 64 g train a.yaml --device tpu; says "one of auto, cpu, cuda"
GANDIST_PLUGIN_DIR=$work run 69 g train "$GANDIST_SOURCE_DIR/recipes/gan-2d.yaml" --device cuda; says "there is no CUDA plug-in"
run 66 g train nowhere.yaml; says "nowhere.yaml"; says "no such file"
run 66 g sample runs/none; says "runs/none: no such run folder"
run 64 g sample runs/none --grid a.png --out b; says "give one of them"
run 64 g interpolate runs/none --from 1; says "give both"
run 64 g interpolate runs/none --from 1 --to x; says "--to wants a seed (an integer from 0), got 'x'"
run 64 g sample runs/none --seed -1; says "--seed wants a seed"
run 64 g arithmetic runs/none; says "terms"
run 66 g verify nothing; says "nothing: no such checkpoint"
run 64 g verify; says "too few arguments"
run 64 g verify x --quick --hash; says "cannot be combined"
run 0 g schema; says "optimizer.g.lr"
run 0 g schema --json; says '"$schema"'
GANDIST_LOG=lunch=debug run 64 g --help; says "launch"
tiny_recipe tiny.yaml
run 64 g tiny.yaml --set optimizer.g.lrx=1; says "--set #1"; says "did you mean"
run 0 g tiny.yaml --print-config; says "optimizer"; says "tiny.yaml:"; says "default"
run 0 g tiny.yaml --print-config --set seed=9; says "--set #1"
run 0 g tiny.yaml --dry-run; says "parameters"; says "per D update"; says "estimated time"
run 0 g tiny.yaml --dry-run --json; says '"params_g":'
checks=$((checks + 1)); [ ! -e runs ] || fail "--dry-run and --print-config must not make a run folder"
finish
