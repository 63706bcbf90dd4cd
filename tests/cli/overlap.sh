# Gradients that travel while ranks compute, with the program itself: the same bytes with comm.overlap on and off, and
# errors in the middle of an exchange end all ranks at once, with the right code, and leave nobody behind.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
png="$GANDIST_SOURCE_DIR/tests/cli/png.py"
tiny_recipe tiny.yaml

# same NAME --set ...: the state and what was measured do not depend on comm.overlap; metrics say what was waited for.
same() {
    local name=$1 o
    shift
    for o in true false; do
        run 0 timeout 100 mpirun --oversubscribe --allow-run-as-root -np 2 "$GANDIST_BIN" tiny.yaml --out "$name-$o" \
            --set comm.overlap=$o --set comm.bucket=4 "$@"
    done
    equal "$(hash_of "$name-true")" "$(hash_of "$name-false")" "$name: state"
    run 0 python3 - "$name-true/metrics.jsonl" "$name-false/metrics.jsonl" <<'PY'
import json, sys
timed = {"images_per_s", "data_wait", "exposed_comm", "seconds"}
a, b = ([json.loads(x) for x in open(p)] for p in sys.argv[1:])
assert len(a) == len(b) == 12
assert all(x["exposed_comm"] > 0 for x in a + b), a[0]
strip = lambda rows: [{k: v for k, v in r.items() if k not in timed} for r in rows]
assert strip(a) == strip(b), "other numbers"
PY
}
same plain
same critic --set schedule.share_fake=false --set schedule.d_steps=3 --set optimizer.shard=true

# A picture that cannot be decoded comes up on one rank while gradients are under way.
mkdir faces
for i in $(seq -w 60); do python3 "$png" make "faces/$i.png" 32 32 1 "$((10#$i + 3))"; done
python3 - <<'PY'
data = bytearray(open("faces/37.png", "rb").read())
at = data.index(b"IDAT")
data[at + 8:at + 40] = bytes(32)
open("faces/37.png", "wb").write(data)
PY
run 65 timeout 60 mpirun --oversubscribe --allow-run-as-root -np 4 "$GANDIST_BIN" tiny.yaml --out bad --steps 50 \
    --set data.source=folder --set data.path=faces --set data.count=0 --set schedule.share_fake=false \
    --set schedule.d_steps=3
says 37.png

# One rank alone fails in the middle of a program.
test="$GANDIST_BUILD_DIR/tests/test_dist.overlap"
if [ -x "$test" ]; then
    run 70 timeout 60 mpirun --oversubscribe --allow-run-as-root -np 4 "$test" --fail
    says "rank 1: a fault of this test"
    lacks "no error"
fi
equal "$(pgrep -f "$GANDIST_TEST_TMP/work" | wc -l)" 0 "processes that are left"
finish
