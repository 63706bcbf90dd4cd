# events.jsonl and gandist status: what they say of a run that trains, is done, was killed, failed; and that status
# only reads.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tiny_recipe tiny.yaml
run 66 g status nothing; says "nothing: no such run folder"
mkdir empty; run 66 g status empty; says "is no run folder"
run 64 g status; says "too few arguments"
run 64 g status a b; says "unexpected argument"
run 64 g status empty --jsn; says "did you mean '--json'"

# FOLDER EXPRESSION: of its events (list e), of its status --json (s).
events() { python3 -c "import json; e=[json.loads(l) for l in open('$1/events.jsonl')]; print($2)"; }
status() { g status "$1" --json | python3 -c "import json, sys; s=json.load(sys.stdin); print($2)"; }

run 0 mpi 2 tiny.yaml --out job
equal "$(events job '[x["event"] for x in e]')" "['start', 'save', 'save', 'save', 'stop']" "events of a run"
equal "$(events job '(e[0]["step"], e[0]["ranks"], e[0]["until"], e[0]["batch"], e[-1]["step"], e[-1]["reason"], e[-1]["exit"])')" \
    "(0, 2, 12, 16, 12, 'done', 0)" "what start and stop say"
equal "$(events job '[x["step"] for x in e if x["event"] == "save"]')" "[4, 8, 12]" "saves"
equal "$(status job '(s["state"], s["step"], s["until"], s["saved_step"], s["ranks"], s["lock"], s["reason"], s["exit"])')" \
    "('done', 12, 12, 12, 2, None, 'done', 0)" "status of a run that is done"
equal "$(status job 's["images_per_s"] > 0 and abs(s["images_per_s"] / 16 / s["steps_per_s"] - 1) < 1e-3')" True "rates"
run 0 g status job; says "job: done"; says "step        12 of 12"; says "2 on "; says "save     step 12, seconds "

# While it trains; killed; and started again.
"$GANDIST_BIN" tiny.yaml --out live --set train.steps=1000000 --set log.every=10 --set checkpoint.every=100 --set log.samples.every=1000000 >live.log 2>&1 &
pid=$!
for _ in $(seq 1 200); do [ -e live/checkpoints/step-000000000100 ] && break; sleep 0.05; done
equal "$(status live '(s["state"], s["lock"]["alive"], s["lock"]["pid"], s["step"] >= 100, s["saved_step"] >= 100)')" \
    "('training', True, $pid, True, True)" "status while it trains"
run 0 g status live; says "live: training"; says "lock        process $pid on "; says " left "
kill -9 $pid; wait $pid 2>/dev/null
equal "$(status live '(s["state"], s["lock"]["alive"], s["reason"], s["exit"])')" "('dead', False, '', -1)" "status after a kill"
run 0 g status live; says "live: dead"; says "process $pid is gone"
listed=$(ls -la --time-style=full-iso live | sort); run 0 g status live; run 0 g status live --json
equal "$(ls -la --time-style=full-iso live | sort)" "$listed" "status changes nothing"
printf '{"time":"2026' >>live/events.jsonl # the kill hit a line
run 75 g tiny.yaml --out live --set train.steps=1000000 --set log.every=10 --set checkpoint.every=100 --set log.samples.every=1000000 --time 00:00:01
sed -i '/^{"time":"2026$/d' live/events.jsonl
equal "$(events live '[x["after"] for x in e if x["event"] == "restart"]')" "['no word (killed, or its host went down)']" "restart after a kill"
equal "$(events live 'any(x["event"] == "warning" and "taken over" in x["text"] for x in e)')" True "the warning of the take-over"

# Who waits: a rank is stopped, the other one waits for it.
mpirun --oversubscribe --allow-run-as-root -np 2 "$GANDIST_BIN" tiny.yaml --out waits --set train.steps=1000000 --set log.every=10 --set log.samples.every=1000000 --set watchdog.limit=20 >waits.log 2>&1 &
pid=$!
for _ in $(seq 1 200); do [ -e waits/checkpoints/step-000000000100 ] && break; sleep 0.05; done
equal "$(status waits '(s["state"], [r["rank"] for r in s["rank"]], len(set(r["host"] for r in s["rank"])))')" "('training', [0, 1], 1)" "ranks of a run that trains"
run 0 g status waits; says "still       no rank: all have moved in the last 5 s"
victim=$(status waits 's["rank"][1]["pid"]')
kill -STOP "$victim"
sleep 7
run 0 g status waits
[[ $out =~ rank\ 0\ on\ $(hostname):\ step\ [0-9]+,\ .*:\ waits\ in\ [^$'\n']*,\ for\ [0-9]+\ s$'\n' ]] || fail "who waits :: $out"
[[ $out =~ rank\ 1\ on\ $(hostname):\ step\ [0-9]+,\ [^$'\n']*,\ for\ [0-9]+\ s\ \(does\ not\ run\)$'\n' ]] || fail "for whom :: $out"
equal "$(status waits '[(r["frozen"], r["rank"]) for r in s["rank"]]')" "[(False, 0), (True, 1)]" "who does not run"
equal "$(status waits '[(r["pid"] > 0, r["still_s"] > 5, r["silent_s"] < 5, r["step"] > 50) for r in s["rank"]]')" "[(True, True, True, True), (True, True, True, True)]" "ranks that stand still"
kill -CONT "$victim"; kill -USR2 "$pid"; wait "$pid"
equal $? 75 "exit code of the run that waited"
equal "$(status waits '(s["state"], s["rank"])')" "('stopped', [])" "ranks of a run that has ended"

# A run that cannot go on says why; bytes that are no UTF-8, lines cut short and strange files do no harm.
run 88 g tiny.yaml --out nan --set optimizer.d.lr=1000 --set optimizer.d.kind=sgd --set train.steps=50
run 0 g status nan; says "nan: stopped (error, exit code 88)"; says "lower the learning rate"
equal "$(events nan '(e[-1]["event"], e[-1]["reason"], e[-1]["exit"])')" "('stop', 'error', 88)" "stop after an error"
head -c 300 /dev/urandom >>job/events.jsonl; printf '\n[1,2]\nnull\n{"event":7}\n{"event":"stop"}\n{"event":' >>job/events.jsonl
head -c 300 /dev/urandom >>job/metrics.jsonl; printf '\n{"step":"x"}\n{"step":1e400}\n{"step":13}\n' >>job/metrics.jsonl
echo '{"pid":"x","host":7}' >job/run.lock
run 0 g status job; run 0 g status job --json
rm job/events.jsonl job/run.lock; mkdir job/events.jsonl
run 66 g status job; says "events.jsonl"
rmdir job/events.jsonl; rm job/metrics.jsonl
equal "$(status job '(s["state"], s["step"], s["saved_step"], s["events"])')" "('stopped', 12, 12, [])" "status without events"

# Rollbacks and changes of an adaptive schedule.
run 88 g tiny.yaml --out sick --set numerics.on_nonfinite=rollback --set optimizer.d.lr=1000 --set optimizer.d.kind=sgd --set train.steps=50 --set checkpoint.every=1
equal "$(events sick '[(x["rollbacks"], x["from"] > x["step"], "not a number" in x["why"] or "finite" in x["why"]) for x in e if x["event"] == "rollback"]')" \
    "[(1, True, True), (2, True, True), (3, True, True)]" "rollback events"
run 0 g tiny.yaml --out adaptive --set schedule.share_fake=false --set train.steps=40 --set schedule.adaptive.kind=grad-ratio --set schedule.adaptive.low=1e5 --set schedule.adaptive.high=2e5 --set schedule.adaptive.every=5 --set schedule.adaptive.max=3
equal "$(events adaptive '[(x["before"], x["d_steps"]) for x in e if x["event"] == "plan"]')" "[(1, 2), (2, 3)]" "plan events"
finish
