# A run from start to end: folder, continuing, pictures, verification.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tiny_recipe tiny.yaml
run 0 g tiny.yaml
says "done at step 12"; says "run folder  runs/tiny"; says "state_hash"
whole=$(hash_of runs/tiny)
says "$whole"
for f in recipe.yaml build.json metrics.jsonl log.txt samples/step-000000006.png samples/step-000000012.png \
    checkpoints/step-000000000012/manifest.json; do is_file runs/tiny/$f; done
equal "$(wc -l <runs/tiny/metrics.jsonl)" 12 "metrics lines"
equal "$(python3 -c 'import json; print([json.loads(l)["step"] for l in open("runs/tiny/metrics.jsonl")])')" \
    "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]" "steps in metrics"
run 0 python3 -c 'import json; r = [json.loads(l) for l in open("runs/tiny/metrics.jsonl")]
assert all({"loss_d", "loss_g", "d_real", "d_fake", "grad_norm_g", "grad_norm_d", "lr_g", "lr_d", "images_per_s", "data_wait"} <= set(x) for x in r), r[0]'

# TensorBoard's file by an independent reader, and the page.
run 0 python3 "$GANDIST_SOURCE_DIR/tests/cli/events.py" runs/tiny/tb
says "start 0 scalars [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] images [6, 12]"; says "'loss/loss_d'"; says "'speed/images_per_s'"
is_file runs/tiny/index.html
out=$(cat runs/tiny/index.html)
says "<polyline"; says "samples/step-000000012.png"; says "global: 16"; lacks "http"

# In two parts, and again when there is nothing to do.
run 0 g tiny.yaml --out parts --steps 5; says "done at step 5"
run 0 g tiny.yaml --out parts; says "going on from step 5"
equal "$(hash_of parts)" "$whole" "hash of a run in two parts"
equal "$(wc -l <parts/metrics.jsonl)" 12 "metrics lines of a run in two parts"
run 0 python3 "$GANDIST_SOURCE_DIR/tests/cli/events.py" parts/tb
says "start 5 scalars [6, 7, 8, 9, 10, 11, 12]"
run 0 g tiny.yaml --out parts; says "parts/samples/step-000000012.png"; says "parts/checkpoints/step-000000000012"
equal "$(hash_of parts)" "$whole" "hash after a start with nothing to do"
# From an older checkpoint the lines behind it are written again, not twice.
run 0 g tiny.yaml --out parts --resume parts/checkpoints/step-000000000008; says "going on from step 8"
equal "$(wc -l <parts/metrics.jsonl)" 12 "metrics lines after going back"
run 73 g tiny.yaml --out parts --resume never; says "--fresh"
run 64 g tiny.yaml --out parts --resume auto --fresh; says "give one of them"
run 0 g tiny.yaml --out parts --fresh --steps 2; says "starting at step 0"
is_file parts.old-1/checkpoints/step-000000000012/manifest.json
run 65 g tiny.yaml --out parts --set generator.width=8; says "generator.width"

# On more ranks: the same losses to rounding.
run 0 mpi 2 tiny.yaml --out two; says "2 ranks on 1 host"
run 0 python3 -c 'import json
a, b = ([json.loads(l) for l in open(f)] for f in ("runs/tiny/metrics.jsonl", "two/metrics.jsonl"))
assert len(a) == len(b) == 12
worst = max(abs(x[k] - y[k]) / max(abs(x[k]), 1e-3) for x, y in zip(a, b) for k in ("loss_d", "loss_g"))
assert worst < 1e-5, worst'

run 0 g sample runs/tiny --n 9 --seed 4 --grid s.png; says "9 samples"; says "ema weights"; is_file s.png
run 0 g sample runs/tiny --n 3 --out files --weights live; is_file files/0002.png
run 0 g sample runs/tiny/checkpoints/step-000000000008 --n 4 --grid s8.png; says "step 8"
run 0 g interpolate runs/tiny --from 1 --to 2 --steps 5 --out i.png; is_file i.png
run 0 g interpolate runs/tiny --from 1 --to 2 --from 3 --to 4 --mode slerp --out j.png; says "20 samples"
run 0 g arithmetic runs/tiny --plus 1,2,3 --minus 4,5,6 --plus 7,8,9 --out a.png; says "16 samples"; is_file a.png
run 0 g sample runs/tiny --n 9 --seed 4 --grid t.png
equal "$(sha256sum <s.png)" "$(sha256sum <t.png)" "the same seed gives the same picture"

run 0 g verify runs/tiny; says "ok, step 12"; says "ok, step 8"
run 0 g verify --quick runs/tiny/checkpoints/step-000000000012; says "ok"
run 0 g verify --json runs/tiny; says '"state":"ok"'
shard=$(ls runs/tiny/checkpoints/step-000000000012/*.safetensors | head -n 1)
printf '\x55' | dd of="$shard" bs=1 seek=$(($(stat -c %s "$shard") - 5)) conv=notrunc status=none
run 65 g verify runs/tiny/checkpoints/step-000000000012; says "DAMAGED"; says "safetensors"
run 0 g tiny.yaml; says "going on from step 8"
equal "$(hash_of runs/tiny)" "$whole" "hash after falling back to an older checkpoint"

# A linear decay without an end of its own reaches zero at the end of the run, not before.
run 0 g tiny.yaml --out fall --set optimizer.g.decay=linear
run 0 python3 -c 'import json
lr = [json.loads(l)["lr_g"] for l in open("fall/metrics.jsonl")]
assert all(abs(x - 2e-4 * (12 - s) / 12) < 1e-12 for s, x in enumerate(lr, 1)), lr'
run 0 g tiny.yaml --out fit --overfit-batch --steps 4
run 0 g tiny.yaml --out q --quiet --steps 2; lacks "step 1/"
run 0 g tiny.yaml --out j --json --steps 2; says '{"step":1,'; says '"state_hash":"'
run 0 g bench tiny.yaml --steps 5 --json; says '"iteration":'
run 0 g bench tiny.yaml --steps 5; says "images/s"
finish
