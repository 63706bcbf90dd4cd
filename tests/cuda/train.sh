#!/bin/bash
# Whole trainings with --device cuda: the program, its plug-in and the fake libraries, against --device cpu. Every variant, one
# rank: metrics of the first step (1e-5, norms of gradients 1e-3), and losses of the next two, which updates that began to
# differ in the last bits have moved (3e-2). Then two ranks, batches accumulated, optimizer.shard, and a checkpoint that moves between the devices.
# Usage: FOLDER of the fake libraries
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh"
export GANDIST_CUDA_LIBRARIES=${1:?} XDG_CACHE_HOME=$work/cache
recipes=$GANDIST_SOURCE_DIR/recipes
usual=(--set checkpoint.every=0 --set log.every=1 --set batch.global=4 --set numerics.kernels=direct --quiet)
small=(--set generator.width=8 --set discriminator.width=8)

# compare WHAT CPU CUDA: prints the largest distances; fails where one is over its limit.
compare() {
    checks=$((checks + 1))
    python3 - "$@" << 'P' || fail "$1: on the GPU other numbers"
import json, sys
what, a, b = sys.argv[1:4]
read = lambda run: [json.loads(l) for l in open(run + '/metrics.jsonl')]
first = later = 0.0
x, y = read(a), read(b)
assert len(x) == len(y) == 3 and [list(m) for m in x] == [list(m) for m in y], 'other steps or names'
for i, (m, n) in enumerate(zip(x, y)):
    for k in m:
        if k in ('images_per_s', 'data_wait', 'exposed_comm'): continue
        assert (m[k] is None) == (n[k] is None), k
        if m[k] is None: continue
        d = abs(m[k] - n[k]) / max(abs(m[k]), 0.1)
        if i == 0: first = max(first, d / (100 if k.startswith('grad') else 1)) # a rounded sum turns a ReLU over
        elif k.startswith('loss'): later = max(later, d)
print(f'{what:36} first step {first:.1e}, losses of the next {later:.1e}')
sys.exit(first > 1e-5 or later > 3e-2)
P
}
# both WHAT RANKS RECIPE arguments: trains on both and compares
both() {
    local what=$1 ranks=$2 recipe=$3
    shift 3
    run 0 mpi "$ranks" "$recipe" --steps 3 --fresh --out cpu --device cpu "${usual[@]}" "$@"
    run 0 mpi "$ranks" "$recipe" --steps 3 --fresh --out cuda --device cuda "${usual[@]}" "$@"
    compare "$what" cpu cuda
}

command -v python3 > /dev/null || { echo "python3 is not there"; exit 77; }
both "GAN, points" 1 "$recipes/gan-2d.yaml"
both "WGAN-GP, points" 1 "$recipes/wgan-gp-2d.yaml" --set generator.width=32 --set discriminator.width=32
tiny_recipe tiny.yaml
both "DCGAN" 1 tiny.yaml
both "DCGAN, 2 ranks" 2 tiny.yaml
cut=(--set data.image.load=36 --set data.flip=true)
both "DCGAN, cut and mirrored, 2 ranks" 2 tiny.yaml "${cut[@]}" --set data.resident=never
both "the same, the set on the GPU" 2 tiny.yaml "${cut[@]}" --set data.resident=always
says "the data set is on the device: 664 kB"
run 65 g tiny.yaml --steps 1 --fresh --out large --device cuda --set data.resident=always --set data.count=2000000
says "data.resident: the set cannot stay on the device: it takes 2.05 GB there, and "; says " are free; use never, or auto"
run 0 g tiny.yaml --steps 1 --fresh --out large --device cpu --set data.resident=always
says "data.resident changes nothing on this device"
both "DCGAN, 2 ranks, 4 shards, divided" 2 tiny.yaml --set numerics.shards=4 --set optimizer.shard=true
both "WGAN, clipped" 1 "$recipes/wgan.yaml" "${small[@]}" --set data.source=synthetic
both "WGAN-GP" 1 "$recipes/wgan-gp.yaml" "${small[@]}" --set data.source=synthetic
for r in pix2pix cyclegan discogan; do
    both "$r" 1 "$recipes/$r.yaml" "${small[@]}" --set data.source=synthetic-pairs --set data.image.size=32
done

# A checkpoint is the same file from both, and either goes on from it.
legs() { # folder, devices of two steps each
    local folder=$1 step=0 d
    shift
    for d in "$@"; do
        step=$((step + 2))
        run 0 g tiny.yaml --out "$folder" --device "$d" --steps $step --quiet --set numerics.shards=2
    done
}
legs moved cpu cuda cpu
legs stayed cpu cpu cpu
checks=$((checks + 1))
python3 - << 'P' || fail "a checkpoint that moved has other tensors"
import array, glob, json, struct
def read(run):
    tensors = {}
    for path in glob.glob(run + '/checkpoints/step-000000000006/*.safetensors'):
        data = open(path, 'rb').read()
        n = struct.unpack('<Q', data[:8])[0]
        head = json.loads(data[8:8 + n])
        head.pop('__metadata__', None)
        for name, t in head.items():
            a, b = t['data_offsets']
            tensors[name] = (t['shape'], t['dtype'], array.array('f', data[8 + n + a:8 + n + b]))
    return tensors
moved, stayed = read('moved'), read('stayed')
assert len(moved) > 20 and moved.keys() == stayed.keys()
worst = 0
for name, (shape, dtype, x) in moved.items():
    assert (shape, dtype) == stayed[name][:2], name
    y = stayed[name][2]
    distance = sum((p - q) ** 2 for p, q in zip(x, y)) ** 0.5
    worst = max(worst, distance / max(sum(q * q for q in y) ** 0.5, 1e-3))
print(f'{len(moved)} tensors of a checkpoint that moved, distance {worst:.1e}')
assert worst < 3e-2
P
finish
