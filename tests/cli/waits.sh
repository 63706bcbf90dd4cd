# How threads wait for each other: the program gives libgomp a short spin before it starts (launch/waits.h), unless the user
# has said something; as the same process, under its name, without losing a signal. What that is worth: tests/bench/waits.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tiny_recipe tiny.yaml
unset OMP_WAIT_POLICY GOMP_SPINCOUNT
endless=(--set train.steps=1000000 --set log.every=1000 --set log.samples.every=1000000 --set checkpoint.every=0)

# What libgomp itself says that it has understood, the last time that it was loaded.
spins() { env "$@" OMP_DISPLAY_ENV=verbose "$GANDIST_BIN" --version 2>&1 >/dev/null | sed -n "s/.*GOMP_SPINCOUNT = '\(.*\)'/\1/p" | tail -n 1; }
equal "$(spins A=1)" 1000 "spins that libgomp takes"
equal "$(spins GOMP_SPINCOUNT=77)" 77 "spins that the user gave"
equal "$(spins OMP_WAIT_POLICY=passive)" 0 "spins where the user wants none"
run 0 env OMP_DISPLAY_ENV=true OMP_WAIT_POLICY=active "$GANDIST_BIN" --version
equal "$(grep -c 'DISPLAY ENVIRONMENT BEGIN' <<<"$out")" 1 "how often a program starts whose user gave a policy"

# The same process under its own name. A signal that comes before its handlers are there waits for them.
python3 - "$GANDIST_BIN" tiny.yaml --out early "${endless[@]}" >early.log 2>&1 <<'PY' &
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
os.kill(os.getpid(), signal.SIGUSR2)
os.execv(sys.argv[1], sys.argv[1:])
PY
wait $!
equal $? 75 "exit code after a signal before main"
"$GANDIST_BIN" tiny.yaml --out named "${endless[@]}" >named.log 2>&1 &
pid=$!
for _ in $(seq 1 200); do grep -q '"event":"start"' named/events.jsonl 2>/dev/null && break; sleep 0.05; done
equal "$(cat /proc/$pid/comm)" "$(basename "$GANDIST_BIN")" "name of the process"
checks=$((checks + 1)); tr '\0' '\n' <"/proc/$pid/environ" | grep -qx 'GOMP_SPINCOUNT=1000' || fail "the process has no GOMP_SPINCOUNT"
kill -TERM $pid; wait $pid
equal $? 75 "exit code after TERM"
# Commands without handlers of their own end by it, as ever.
python3 -c 'import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); os.kill(os.getpid(), signal.SIGTERM); os.execv(sys.argv[1], sys.argv[1:])' \
    "$GANDIST_BIN" status named
equal $? 143 "exit code of gandist status after TERM"

# The table of a start says what it does about cores that are shared.
one_core=(taskset -c "$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')")
run 0 env OMP_NUM_THREADS=2 "${one_core[@]}" "$GANDIST_BIN" tiny.yaml --out shared --steps 1; says "(cores are shared; who waits sleeps)"
run 0 env OMP_NUM_THREADS=2 OMP_WAIT_POLICY=active "${one_core[@]}" "$GANDIST_BIN" tiny.yaml --out spins --steps 1
says "(cores are shared; OMP_WAIT_POLICY or GOMP_SPINCOUNT lets threads spin: slow)"

finish
