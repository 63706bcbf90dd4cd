# Weights out of a run and into another one.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
w() { python3 "$GANDIST_SOURCE_DIR/tests/cli/weights.py" "$@"; }
same_picture() { python3 "$GANDIST_SOURCE_DIR/tests/cli/png.py" same "$@"; }
tiny_recipe tiny.yaml
run 0 g tiny.yaml --quiet
run 0 g sample runs/tiny --n 9 --grid ema.png
run 0 g sample runs/tiny --n 9 --grid live.png --weights live

# Keys and shapes of the public DCGAN code.
run 0 g export runs/tiny --out G.safetensors; says "19 tensors of G, tiny, step 12, ema weights"
run 0 w keys G.safetensors
says "main.0.weight F32 16 16 4 4"; says "main.1.running_mean F32 16"; says "main.1.num_batches_tracked I64"; says "main.9.weight F32 4 1 4 4"
run 0 g export runs/tiny --network D --weights live --out D.safetensors; says "tensors of D"
run 0 w keys D.safetensors; says "main.0.weight F32 4 1 4 4"; says "main.8.weight F32 1 16 4 4"; says "main.3.running_var"
run 0 g export runs/tiny --names wgan --out W.safetensors
run 0 w keys W.safetensors; says "main.initial:16-16:convt.weight F32 16 16 4 4"; says "main.pyramid:8:batchnorm.running_var F32 8"; says "main.final:4-1:convt.weight"
run 0 g export runs/tiny --names gandist --out all.safetensors; says "all networks"
run 0 w keys all.safetensors; says "G/main.0.weight"; says "D/main.0.weight"; lacks "num_batches_tracked"

# Every way of writing the names comes back as the same network.
w edit G.safetensors module.safetensors module untracked
w edit W.safetensors dots.safetensors dots module
w edit G.safetensors stats.safetensors stats
for f in G W all module dots stats; do
    run 0 g import $f.safetensors --into tiny.yaml --out from-$f; says "16 tensors of G"; says "a run at step 0"
    run 0 g sample from-$f --n 9 --grid $f.png; says "step 0"
    run 0 same_picture ema.png $f.png
    run 0 g export from-$f --out again.safetensors
    w edit again.safetensors again.safetensors untracked
    w edit G.safetensors plain.safetensors untracked
    run 0 w same again.safetensors plain.safetensors
done
run 0 g import G.safetensors --into tiny.yaml --out none; says "3 passed over"
w edit G.safetensors half.safetensors half
run 0 g import half.safetensors --into tiny.yaml --out half
run 0 g import G.safetensors D.safetensors --network G --network D --into tiny.yaml --out both
run 0 g export both --network D --out D2.safetensors
w edit D.safetensors D.plain untracked; w edit D2.safetensors D2.plain untracked
run 0 w same D.plain D2.plain

# As a start for training, and as a whole checkpoint.
run 0 g verify both; says "ok, step 0"
run 0 g both/recipe.yaml --out both --steps 2; says "starting at step 0"; says "done at step 2"
run 0 g import G.safetensors --into tiny.yaml --set train.steps=3 --out longer
run 0 g longer/recipe.yaml --out longer; says "done at step 3"

# Both generators of a two-way run; what a pool of images and optimisers hold starts anew.
two_way_recipe both.yaml
run 0 g both.yaml --quiet --out cycle --steps 2
run 0 g export cycle --out AB.safetensors; says "tensors of G_AB"
run 0 g export cycle --network G_BA --out BA.safetensors
run 0 w keys AB.safetensors; says "model.1.weight F32 4 3 7 7"; says "model.10.conv_block.1.weight F32 16 16 3 3"; lacks "running"
run 0 g import AB.safetensors BA.safetensors --network G_AB --network G_BA --into both.yaml --out cycle2
python3 "$GANDIST_SOURCE_DIR/tests/cli/png.py" make photo.png 32 32 3 5
for way in AtoB BtoA; do
    run 0 g translate cycle photo.png --direction $way --out out1
    run 0 g translate cycle2 photo.png --direction $way --out out2
    run 0 same_picture out1/photo.png out2/photo.png
done
run 0 g cycle2/recipe.yaml --out cycle2 --steps 2; says "done at step 2"

# Without the data: used, not trained.
sed 's/synthetic, /folder, path: nowhere, /; s/, count: 512//' tiny.yaml >away.yaml
run 0 g import G.safetensors --into away.yaml --out away; says "will sample and translate, but not train"
run 0 g sample away --n 9 --grid away.png
run 0 same_picture ema.png away.png

# What does not fit is named.
w edit G.safetensors drop.safetensors drop
run 65 g import drop.safetensors --into tiny.yaml --out x; says "has no tensor for 'main.0.weight' of network G"
w edit G.safetensors extra.safetensors extra
run 65 g import extra.safetensors --into tiny.yaml --out x; says "main.99.weight"; says "another architecture"
w edit G.safetensors wide.safetensors wide
run 65 g import wide.safetensors --into tiny.yaml --out x; says "has the shape [32,16,4,4]"; says "wants [16,16,4,4]"
w edit G.safetensors nan.safetensors nan
run 65 g import nan.safetensors --into tiny.yaml --out x; says "is not finite"
run 65 g import G.safetensors --into tiny.yaml --network D --out x; says "wants [4,1,4,4]"
run 65 g import tiny.yaml --into tiny.yaml --out x; says "tiny.yaml"; says "safetensors"
head -c 300 /dev/zero >old.pth
run 65 g import old.pth --into tiny.yaml --out x; says "must be converted first"
run 66 g import nothing.safetensors --into tiny.yaml --out x; says "nothing.safetensors"
checks=$((checks + 1)); [ ! -e x ] || fail "a failed import left a run folder"
run 73 g import G.safetensors --into tiny.yaml --out both; says "a run is there already"
run 64 g import G.safetensors --into tiny.yaml; says "--out RUN must be given"
run 64 g import G.safetensors D.safetensors --into tiny.yaml --out x; says "one for each file"
run 64 g import G.safetensors --into tiny.yaml --network E --out x; says "no network 'E'; one of G, D"
run 69 g export runs/tiny --format onnx --out x.onnx; says "onnx: not in this version"
run 64 g export runs/tiny --format hdf5 --out x; says "expected safetensors"
run 64 g export runs/tiny; says "--out FILE must be given"
run 64 g export runs/tiny --network E --out x; says "no network 'E'"
run 64 g export runs/tiny --names tf --out x; says "one of pytorch, wgan, gandist"
run 64 g export runs/tiny --names gandist --network G --out x; says "give one of them"
finish
