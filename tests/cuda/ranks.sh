# shellcheck shell=bash
# Trainings of several ranks on the fake libraries; for scripts that have sourced ../cli/lib.sh.

# start ENVIRONMENTS... -- arguments of train: one rank an environment, each with a GPU of its own unless FAKE_BUS is among its words.
start() {
    local line=() n=0 each=()
    while [ "$1" != -- ]; do each+=("$1"); shift; done
    shift
    for e in "${each[@]}"; do
        # shellcheck disable=SC2206 # one word a variable
        line+=(${line:+:} -np 1 env FAKE_BUS=$n $e "$GANDIST_BIN" train "$@" --device cuda)
        n=$((n + 1))
    done
    mpirun --oversubscribe --allow-run-as-root "${line[@]}"
}
hash_said() { sed -n 's/^ *state_hash *//p' <<< "$out"; }
