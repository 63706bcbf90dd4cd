# Sourced by the scripts of this folder: several hosts on this machine (../shared/cluster), jobs on them, and what must be
# true after each. On top of cli/lib.sh.
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh"
lab="$GANDIST_SOURCE_DIR/../shared/cluster"

# lab_up N: hosts node1 ... nodeN, gone when the script ends, or after lab_ttl seconds. Skips where there can be none.
lab_up() {
    local code
    [ -x "$lab/hosts" ] || { echo "skipped: no ../shared/cluster"; exit 77; }
    export GANDIST_LAB_DIR="${lab_folder:=$(mktemp -d)}/lab" GANDIST_LAB_TTL=${lab_ttl:-7200}
    trap lab_down EXIT
    "$lab/hosts" up "$1" || { code=$?; [ $code = 77 ] && echo "skipped: no hosts here (root and network namespaces are needed)"; exit $code; }
    lab_hosts=$1
}
lab_down() {
    "$lab/hosts" down >/dev/null 2>&1
    rm -rf "${lab_folder:?}"
}
hosts() { "$lab/hosts" "$@"; }
slurm() { "$lab/slurm" run "$@"; }

# Ranks on other hosts start with a bare environment, as with ssh: what they need is handed on.
handed_on=(-x OMP_NUM_THREADS -x GANDIST_CHECK -x OMP_WAIT_POLICY)
for name in ASAN_OPTIONS LSAN_OPTIONS; do [ -z "${!name:-}" ] || handed_on+=(-x "$name"); done
# So that mpirun notices a lost host in seconds; as launch/run does.
export OMPI_MCA_oob_tcp_keepalive_time=2 OMPI_MCA_oob_tcp_keepalive_intvl=1 OMPI_MCA_oob_tcp_keepalive_probes=3

# on_hosts RANKS ARGUMENT...: the program on all hosts, in this folder.
on_hosts() {
    local n=$1
    shift
    hosts mpirun "${handed_on[@]}" --wdir "$PWD" -np "$n" "$GANDIST_BIN" "$@"
}

# from HOST ARGUMENT...: the program, one rank, on one of them.
from() { local host=$1; shift; "$lab/hosts" run "$host" env -C "$PWD" "$GANDIST_BIN" "$@"; }

# Processes of gandist and of its launchers that are left: in the hosts, and of this test (by its environment).
left() {
    local pid host
    {
        for host in $(seq -f 'node%g' 1 "${lab_hosts:-0}"); do hosts pids "$host"; done
        grep -lzxsF "GANDIST_TEST_TMP=$GANDIST_TEST_TMP" /proc/[0-9]*/environ 2>/dev/null | cut -d / -f 3
    } | sort -un | while read -r pid; do
        case "$(cat "/proc/$pid/comm" 2>/dev/null)" in
            gandist | orted | mpirun | srun) [[ "$(ps -o stat= -p "$pid")" == Z* ]] || echo "$pid" ;;
        esac
    done
}
# nothing_left WHAT: within 15 s no process of a job is.
nothing_left() {
    local pids
    checks=$((checks + 1))
    for _ in $(seq 1 150); do
        pids=$(left)
        [ -n "$pids" ] || return 0
        sleep 0.1
    done
    fail "$1: processes are left: $(xargs -r ps -o pid=,stat=,args= -p <<<"$pids")"
    xargs -r kill -KILL <<<"$pids"
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
    local tries=$(($1 * 20))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { fail "never: $*"; return 1; }
        sleep 0.05
    done
}
# has_event FOLDER EVENT [TIMES]
has_event() { [ "$(cat "$1/events.jsonl" 2>/dev/null | grep -c "\"event\":\"$2\"")" -ge "${3:-1}" ]; }
newest() { ls "$1/checkpoints" 2>/dev/null | sed -n 's/^step-0*\([0-9][0-9]*\)$/\1/p' | tail -n 1; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
# stop_of FOLDER: reason, exit code and words of the last stop.
stop_of() { python3 - "$1" <<'PY'
import json, sys
stops = [e for e in map(json.loads, open(sys.argv[1] + "/events.jsonl")) if e["event"] == "stop"]
print(stops[-1]["reason"], stops[-1]["exit"], stops[-1].get("said", "")) if stops else print("none")
PY
}

# ---- networks that fail (besides hosts cut, heal, limit) ----

# deaf HOST: nothing that HOST sends to the others arrives, it hears everything: a wrong address for each of them.
deaf() {
    local other
    for other in $(seq -f 'node%g' 1 "$lab_hosts"); do
        [ "$other" = "$1" ] || hosts run "$1" ip neigh replace "$(address "$other")" lladdr 02:00:00:00:00:01 dev eth0 nud permanent
    done
}
undeaf() { hosts run "$1" ip neigh flush dev eth0 nud permanent >/dev/null 2>&1; }
address() { awk -v h="$1" '$2 == h {print $1}' "$GANDIST_LAB_DIR/etc/hosts"; }
heal_all() {
    local host
    for host in $(seq -f 'node%g' 1 "$lab_hosts"); do
        undeaf "$host"
        hosts heal "$host"
    done
    hosts limit all off
}

# ---- at a point of a rank's work (at_point.c) ----

at_point="$GANDIST_BUILD_DIR/tests/libat_point.so"
[ -z "${GANDIST_SANITIZE_FLAGS:-}" ] || export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0"
# at_a_point FOLDER RANKS ARGUMENT...: with AT_* as the caller has set them; becomes mpirun. INT and HUP end it, as in a
# terminal: what a shell starts in its background is deaf to INT.
at_a_point() {
    local folder=$1 n=$2
    shift 2
    mkdir -p "$folder" && rm -f "$folder"/*
    AT_FOLDER="$PWD/$folder" python3 -c 'import os, signal, sys
for s in (signal.SIGINT, signal.SIGHUP): signal.signal(s, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])' mpirun --oversubscribe --allow-run-as-root -np "$n" env LD_PRELOAD="$at_point" "$GANDIST_BIN" "$@"
}

# A WGAN-GP on points: many D steps, a penalty, saves and sample sheets all the time; equal bytes on 1, 2 and 4 ranks.
busy_recipe() {
    points_recipe "$1"
    sed -i -e 's/^loss: .*/loss: {kind: wasserstein, penalty: {kind: gradient, lambda: 10, target: 1}}\nschedule: {d_steps: 2}\nnumerics: {shards: 4}/' \
        -e 's/^checkpoint: .*/checkpoint: {every: 7, keep: 3}/' -e 's/^log: .*/log: {every: 5, samples: {every: 10, n: 4}}/' "$1"
}
# ends_equal FOLDER RECIPE ARGUMENT...: a few steps more, and it has the bytes of a run that nothing happened to.
ends_equal() {
    local folder=$1 recipe=$2 end
    shift 2
    end=$(($(newest "$folder") + 5))
    rm -f "$folder/starts.json"
    run 0 g verify "$folder"
    run 0 g "$recipe" --out "$folder" --steps $end "$@"
    run 0 g "$recipe" --out "$folder.whole" --steps $end "$@" --set checkpoint.every=0 --set log.samples.every=1000000
    equal "$(hash_of "$folder")" "$(hash_of "$folder.whole")" "$folder: hash at step $end"
    echo "$folder: step $end has the hash of an undisturbed run"
}
