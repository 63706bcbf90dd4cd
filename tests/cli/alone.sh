#!/bin/bash
# Commands that one process does, started by mpirun several times: refused with 64, said once, before anything is read or written.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tiny_recipe tiny.yaml
run 0 g tiny.yaml --steps 2 --out run --quiet
run 0 g export run --format safetensors --out g.safetensors
before=$(find . -type f -exec cksum {} + | sort)

refused() { # arguments
    run 64 mpi 2 "$@"
    says "gandist $1: one process does it, and this is one of 2 that mpirun of Open MPI started; start it by itself"
    equal "$(grep -c 'one process does it' <<< "$out")" 1 "how often $1 says so"
}
refused sample run --n 4 --grid grid.png
refused interpolate run --from 1 --to 2 --out walk.png
refused arithmetic run --plus 1,2 --minus 3,4 --plus 5,6 --out sum.png
refused translate run g.safetensors --out pictures
refused evaluate run --n 16 --json
refused export run --format onnx --out g.onnx
refused import g.safetensors --into tiny.yaml --out imported
refused verify run
refused checkpoint prune run --keep 1
refused checkpoint reshard run
refused status run
refused slurm tiny.yaml
refused data check tiny.yaml
refused schema
equal "$(find . -type f -exec cksum {} + | sort)" "$before" "files after commands that were refused"

# One process is one however it was started, and a script's only one may be told so; help is for everybody.
run 0 mpi 1 verify run
run 0 env OMPI_COMM_WORLD_SIZE=1 "$GANDIST_BIN" sample run --n 4 --grid grid.png
run 64 env OMPI_COMM_WORLD_SIZE=3 OMPI_COMM_WORLD_RANK=0 "$GANDIST_BIN" verify run; says "this is one of 3 that"
run 64 env SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=0 "$GANDIST_BIN" verify run; says "this is one of 4 that srun started"
run 0 env SLURM_STEP_NUM_TASKS=4 OMPI_COMM_WORLD_SIZE=1 "$GANDIST_BIN" verify run # srun's are mpirun's daemons
run 0 mpi 2 sample --help; says "usage: gandist sample"
run 64 mpi 2 sampel run; says "did you mean 'sample'?"
# Ranks are for these.
run 0 mpi 2 tiny.yaml --steps 3 --out run --quiet
run 0 mpi 2 bench tiny.yaml --steps 5 --json
finish
