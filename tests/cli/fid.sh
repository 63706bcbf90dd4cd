# FID with the weights that the user gives: here random ones of the right names and shapes (golden.inception compares the
# network with PyTorch).
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
weights() { python3 "$GANDIST_SOURCE_DIR/tests/cli/inception.py" "$GANDIST_SOURCE_DIR/tests/golden/inception.txt" "$@" || fail "no weights $*"; }
trap 'rm -f "$work"/*.safetensors' EXIT # 87 MB each
tiny_recipe tiny.yaml
run 0 g tiny.yaml --quiet
weights good.safetensors fc
run 0 g evaluate runs/tiny --n 8 --metrics fid --inception good.safetensors
says "8 samples against 8 of the training set"; says "fid by good.safetensors, xxh3 of its weights "
says "  fid  "; says "fid of 8 samples against 8: the covariance of 2048 features needs more"; lacks "swd"
value=$(awk '$1 == "fid" && NF == 3 {print $2}' <<<"$out")
run 0 g evaluate runs/tiny --n 8 --metrics fid --inception good.safetensors --json
python3 -c 'import json, sys; r = json.loads([l for l in sys.argv[1].splitlines() if l.startswith("{")][-1]); m = r["results"][0]["metrics"]
assert set(m) == {"fid"} and len(r["inception_hash"]) == 32 and r["classifier_state_hash"] is None, r
assert 0 < m["fid"]["floor"] and 0 < m["fid"]["value"], m
assert "%.6g" % m["fid"]["value"] == sys.argv[2], (m, sys.argv[2])' "$out" "$value" || fail "JSON of fid, $value: $out"

# Refused, with what to do.
run 64 g evaluate runs/tiny --metrics fid; says "give --inception FILE.safetensors"; says "docs/evaluate.md"; says "fd is the same distance"
run 64 g evaluate runs/tiny --metrics swd --inception good.safetensors; says "none of the metrics needs it"
run 66 g evaluate runs/tiny --inception nowhere.safetensors; says "nowhere.safetensors"
weights bad.safetensors torchvision
run 65 g evaluate runs/tiny --metrics fid --inception bad.safetensors; says "'fc.weight' is for 1000 classes"
weights bad.safetensors short
run 65 g evaluate runs/tiny --metrics fid --inception bad.safetensors; says "has no tensor 'Mixed_7c.branch_pool.conv.weight'"
head -c 20000000 good.safetensors >bad.safetensors
run 65 g evaluate runs/tiny --metrics fid --inception bad.safetensors; says "bad.safetensors"; says "docs/evaluate.md"
echo "a pickle" >bad.safetensors
run 65 g evaluate runs/tiny --metrics fid --inception bad.safetensors; says "how to convert a .pth"
run 0 g "$GANDIST_SOURCE_DIR/recipes/gan-2d.yaml" --quiet --out ring --steps 1
run 64 g evaluate ring --metrics fid --inception good.safetensors; says "--metrics fid: makes no sense"
run 64 g evaluate ring --inception good.safetensors; says "of runs that make images"
finish
