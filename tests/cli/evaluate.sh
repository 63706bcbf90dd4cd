# Measures of what trained runs make. Needs Fashion-MNIST for the parts with a classifier.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tiny_recipe tiny.yaml
run 0 g tiny.yaml --quiet
# What needs no classifier is measured, and what does is said.
run 0 g evaluate runs/tiny --n 200
says "tiny, step 12, ema weights, state_hash $(hash_of runs/tiny)"; says "200 samples against 200 of the training set"
says "swd"; says "ms-ssim"; says "needs a classifier: 'gandist recipes/classifier.yaml'"
run 0 g evaluate runs/tiny --n 100 --metrics parzen,swd --json
python3 -c 'import json, sys; r = json.loads(sys.argv[1]); m = r["results"][0]["metrics"]
assert r["step"] == 12 and r["classifier_state_hash"] is None and set(m) == {"swd", "parzen", "parzen_sigma"}, r
assert 0 < m["swd"]["floor"] < m["swd"]["value"] and m["parzen"]["error"] > 0, m' "$out" || fail "JSON of evaluate: $out"
first=$out
run 0 g evaluate runs/tiny --n 100 --metrics parzen,swd --json; equal "$out" "$first" "the same seed, the same numbers"
run 0 g evaluate runs/tiny --n 100 --metrics parzen,swd --json --seed 2; checks=$((checks + 1)); [ "$out" != "$first" ] || fail "another seed, other samples"
run 64 g evaluate runs/tiny --metrics swdd; says "did you mean 'swd'?"
run 64 g evaluate runs/tiny --metrics l1; says "makes no sense for tiny"
run 64 g evaluate runs/tiny --n 1; says "--n: must be 2 to"
run 66 g evaluate runs/tiny --metrics fd; says "runs/classifier: no such run"; says "gandist recipes/classifier.yaml"
run 66 g evaluate runs/tiny --classifier nowhere; says "nowhere: no such run"
run 65 g evaluate runs/tiny --metrics fd --classifier runs/tiny; says "topology 'noise'; expected a classifier"
run 0 g evaluate --help; says "metrics:"; says "sliced Wasserstein"

# Modes of a mixture: real points have them all.
recipes="$GANDIST_SOURCE_DIR/recipes"
run 0 g "$recipes/gan-2d.yaml" --quiet --out ring --steps 5
run 0 g evaluate ring --n 500 --metrics modes,swd --json
python3 -c 'import json, sys; m = json.loads(sys.argv[1])["results"][0]["metrics"]
assert m["modes"]["value"] == 8 and m["modes_hit"]["floor"] == 8 and m["high_quality"]["floor"] > 0.97, m
assert m["reverse_kl"]["floor"] < 0.05 and m["reverse_kl"]["value"] >= 0, m' "$out" || fail "modes: $out"
run 64 g evaluate ring --metrics swd,modes --classifier runs/none; says "none of the metrics needs one"

# A translation whose truth is known.
paired_recipe paired.yaml
run 0 g paired.yaml --quiet --steps 1
run 0 g evaluate runs/paired --metrics l1,swd; says "AtoB: "; says "l1"; lacks "BtoA"
two_way_recipe both.yaml
run 0 g both.yaml --quiet --steps 1
run 0 g evaluate runs/both --metrics swd; says "AtoB: "; says "BtoA: "

data=/usr/share/datasets/fashion-mnist
[ -d $data ] || { echo "no Fashion-MNIST ($data): the rest is not tested"; finish; }
small=(--quiet --set data.count=600)
run 0 g "$recipes/classifier.yaml" "${small[@]}" --steps 100 --out runs/classifier --set batch.global=32
lacks "samples  "
run 0 g evaluate runs/classifier --json
python3 -c 'import json, sys; m = json.loads(sys.argv[1])["results"][0]["metrics"]
assert set(m) == {"accuracy"} and 0.4 < m["accuracy"]["value"] <= 1, m' "$out" || fail "accuracy: $out"
run 0 g "$recipes/dcgan.yaml" "${small[@]}" --steps 1 --out dcgan --set generator.width=4 --set discriminator.width=4 --set batch.global=8
run 0 g evaluate dcgan --n 120 --json --metrics fd,kid,prdc
python3 -c 'import json, sys; r = json.loads(sys.argv[1]); m = r["results"][0]["metrics"]
assert r["classifier_state_hash"] == sys.argv[2], r
assert set(m) == {"fd", "kid", "precision", "recall", "density", "coverage"}, m
assert m["fd"]["floor"] * 2 < m["fd"]["value"] and m["coverage"]["floor"] > 0.8 > m["coverage"]["value"], m' "$out" \
    "$(hash_of runs/classifier)" || fail "features: $out"
run 65 g evaluate runs/paired --metrics fd; says "it was trained on images of 32 x 32 x 1, this run makes 64 x 64 x 3"
sed 's/source: synthetic, image: {size: 32, channels: 1}, count: 512/source: stacked-fashion, count: 300/' tiny.yaml >stacked.yaml
run 0 g stacked.yaml --quiet --steps 1 --out stacked
run 0 g evaluate stacked --n 100 --json
python3 -c 'import json, sys; m = json.loads(sys.argv[1])["results"][0]["metrics"]
assert m["modes"]["value"] == 1000 and m["modes_hit"]["floor"] > 60 > m["modes_hit"]["value"] >= 1, m
assert m["modes_well_hit"]["floor"] >= 1, m' "$out" || fail "stacked modes: $out"
finish
