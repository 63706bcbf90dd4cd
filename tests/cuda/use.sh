#!/bin/bash
# What trained runs are used for, on the GPU (the fake libraries) as on the CPU: pictures that differ by at most one of 255 levels, measures
# that agree, which device is said, and what is refused. Usage: FOLDER of the fake libraries
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh"
export GANDIST_CUDA_LIBRARIES=${1:?} XDG_CACHE_HOME=$work/cache
png() { python3 "$GANDIST_SOURCE_DIR/tests/cli/png.py" "$@"; }
command -v python3 > /dev/null || { echo "python3 is not there"; exit 77; }
gpu="device cuda (fake GPU, 1 GiB, capability 9.0, CUDA 13.0, cuDNN 9.19)"

tiny_recipe tiny.yaml
paired_recipe paired.yaml
two_way_recipe both.yaml
for r in tiny paired both; do run 0 g $r.yaml --quiet --steps 2 --device cpu; done
run 0 g "$GANDIST_SOURCE_DIR/recipes/gan-2d.yaml" --quiet --out points --steps 2 --device cpu

# pictures FILE COMMAND...: the same picture from both devices.
pictures() {
    local file=$1 d
    shift
    for d in cpu cuda; do
        run 0 g "$@" --device $d
        [ $d = cpu ] && says "device cpu"
        [ $d = cuda ] && says "$gpu"
        is_file "$file"
        mv "$file" $d.png
    done
    run 0 png near cpu.png cuda.png 1
    echo "$*: $out levels apart at most"
}
pictures a.png sample runs/tiny --n 40 --grid a.png # more than a batch, and no multiple of it
pictures a.png sample runs/tiny --n 3 --grid a.png --weights live
pictures a.png interpolate runs/tiny --from 1 --to 2 --steps 3 --out a.png
pictures a.png arithmetic runs/tiny --plus 1,4 --minus 2,3 --out a.png
mkdir photos && png make photos/a.png 64 64 3 5 && png make photos/b.png 64 64 3 9
pictures s.png translate runs/paired photos --out p --sheet s.png
pictures s.png translate runs/paired photos/a.png --out p --sheet s.png --no-noise
pictures s.png translate runs/both photos --out p --sheet s.png --direction BtoA
png make small.png 32 48 3 7
pictures s.png translate runs/both photos/a.png small.png --out p --sheet s.png # a size of its own each
run 0 g sample runs/tiny --n 2 --out files --device cuda; says "$gpu"; is_file files/0000.png

# measures RUN ARGUMENTS...: every value within 1 % of the CPU's; which device is a field of its own.
measures() {
    local d
    for d in cpu cuda; do
        run 0 g evaluate "$@" --json --device $d
        printf '%s\n' "$out" > $d.json
    done
    checks=$((checks + 1))
    python3 - << 'P' || fail "evaluate $*: other numbers on the GPU"
import json
cpu, cuda = (json.load(open(d + '.json')) for d in ('cpu', 'cuda'))
assert cpu.pop('device') == 'cpu' and cuda.pop('device').startswith('cuda (fake GPU'), 'device'
seen = 0
for a, b in zip(cpu['results'], cuda['results'], strict=True):
    x, y = a.pop('metrics'), b.pop('metrics')
    assert a == b and x.keys() == y.keys(), (a, b)
    for name in x:
        for k, v in x[name].items():
            assert (v is None) == (y[name][k] is None), name
            if v is None: continue
            seen += 1
            assert abs(v - y[name][k]) <= 0.01 * max(abs(v), 1e-3), (name, k, v, y[name][k])
cpu.pop('results'), cuda.pop('results')
assert cpu == cuda and seen, seen
P
}
measures runs/tiny --n 60 --metrics swd,ms-ssim
measures runs/paired --n 4 --metrics l1,swd
measures points --n 200 --metrics swd
run 0 g evaluate runs/tiny --n 20 --metrics swd --device cuda; says "$gpu"
if [ -d /usr/share/datasets/fashion-mnist ]; then
    run 0 g "$GANDIST_SOURCE_DIR/recipes/classifier.yaml" --quiet --steps 30 --out runs/classifier --device cpu \
        --set batch.global=16 --set data.count=400
    sed 's/source: synthetic, image: {size: 32, channels: 1}, count: 512/source: fashion32, count: 300/' tiny.yaml > clothes.yaml
    run 0 g clothes.yaml --quiet --steps 1 --out clothes --device cpu
    measures clothes --n 40 --metrics fd,kid
    measures runs/classifier --n 40
else
    echo "no Fashion-MNIST: without a classifier"
fi

# Who has no GPU: told why, or refused.
commands=("sample runs/tiny --n 2 --grid x.png" "interpolate runs/tiny --from 1 --to 2 --out x.png" "arithmetic runs/tiny --plus 1 --out x.png"
    "translate runs/paired photos/a.png --out x" "evaluate runs/tiny --n 20 --metrics swd")
for c in "${commands[@]}"; do
    # shellcheck disable=SC2086 # words of a command
    {
        FAKE_CUDA=none run 69 g $c --device cuda; says "--device cuda: CUDA cannot be used: cuda: the driver finds no GPU"
        FAKE_CUDA=none run 0 g $c; says "device cpu (cuda: the driver finds no GPU)"
        run 0 g $c; says "$gpu" # auto
        run 69 g $c --device ref; says "use cpu"
        run 64 g $c --device gpu; says "one of auto, cpu, cuda"
    }
done
finish
