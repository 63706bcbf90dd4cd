# Images through trained image-to-image networks.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
png() { python3 "$GANDIST_SOURCE_DIR/tests/cli/png.py" "$@"; }
paired_recipe paired.yaml
two_way_recipe both.yaml
run 0 g paired.yaml --quiet; says "runs/paired/samples/step-000000004.png"
run 0 g both.yaml --quiet; says "runs/both/samples/step-000000004.png"
run 0 png size runs/paired/samples/step-000000004.png; equal "$out" "200 266 3" "sheet: 1 group of 3 tiles across, 4 down"
run 0 png size runs/both/samples/step-000000004.png; equal "$out" "206 138 3" "sheet: 1 group of 6 tiles across, 4 down"

mkdir photos && png make photos/a.png 64 64 3 5 && png make photos/b.png 64 64 3 9 && png make photos/grey.png 128 64 1 3
cp photos/a.png photos/notes.txt
run 0 g translate runs/paired photos --out results --sheet sheet.png
says "results: 3 images by paired, step 4"; says "A to B"; says "sheet.png: 3 of them"
equal "$(ls results | tr '\n' ' ')" "a.png b.png grey.png " "results"
run 0 png size results/grey.png; equal "$out" "128 64 3" "a grey image in colour"
run 0 png size sheet.png; equal "$out" "134 200 3" "sheet of three pairs"
run 0 g translate runs/paired photos/b.png photos/a.png --out two --weights live; says "2 images"
run 1 png same two/a.png two/b.png

# Dropout is pix2pix's noise: on as published, off on request; either way the same command gives the same picture.
run 0 g translate runs/paired photos/a.png --out again; run 0 png same again/a.png results/a.png
run 0 g translate runs/paired photos/a.png --out calm --no-noise
run 1 png same calm/a.png results/a.png
run 0 g translate runs/paired photos/a.png --out calm2 --no-noise; run 0 png same calm/a.png calm2/a.png

# Both ways of a two-way run.
run 0 g translate runs/both photos --out ab; says "A to B"
run 0 g translate runs/both photos --out ba --direction BtoA; says "B to A"
run 1 png same ab/a.png ba/a.png
run 64 g translate runs/both photos --out x --direction BtoB; says "one of AtoB, BtoA"
run 64 g translate runs/paired photos --out x --direction BtoA; says "was trained from A to B only"

# A run whose input is the data's B.
run 0 g paired.yaml --quiet --out back --set data.direction=BtoA --steps 1
run 0 g translate back photos/a.png --out x1; says "B to A"
run 0 g translate back photos/a.png --out x2 --direction BtoA
run 64 g translate back photos/a.png --out x3 --direction AtoB; says "was trained from B to A only"

# Sizes: named, or fitted.
png make odd.png 50 30 3 2
run 65 g translate runs/both odd.png --out x; says "50 x 30 pixels"; says "nearest width 48 or 52, nearest height 28 or 32"; says "--fit"
run 0 g translate runs/both odd.png --out fit --fit; run 0 png size fit/odd.png; equal "$out" "52 32 3" "fitted size"
run 65 g translate runs/paired odd.png --out x; says "nearest width 64, nearest height 64"
run 0 g translate runs/paired odd.png --out fit2 --fit; run 0 png size fit2/odd.png; equal "$out" "64 64 3" "fitted to a U-Net"

# What goes wrong.
run 66 g translate runs/paired nothing.png --out x; says "nothing.png: no such file"
mkdir empty; run 66 g translate runs/paired empty --out x; says "has no .png, .jpg or .jpeg file"
run 64 g translate runs/paired photos; says "--out DIR must be given"
run 64 g translate runs/paired photos/a.png photos --out x; says "both results would be called a.png"
run 64 g translate runs/paired photos --out photos; says "would be overwritten by its own result"
head -c 100 photos/a.png >cut.png
run 65 g translate runs/paired cut.png --out x; says "cut.png"
tiny_recipe tiny.yaml; run 0 g tiny.yaml --quiet --steps 1
run 65 g translate runs/tiny photos --out x; says "translates no images; see 'gandist sample'"
run 65 g sample runs/paired; says "see 'gandist translate'"
finish
