# Sourced by the scripts of this folder: runs gandist and checks exit code, output and files.
set -uo pipefail
shopt -s lastpipe # "... | bad" counts in this shell
: "${GANDIST_BIN:?}" "${GANDIST_SOURCE_DIR:?}" "${GANDIST_TEST_TMP:?}"
export OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
checks=0 failures=0
work="$GANDIST_TEST_TMP/work"
rm -rf "$work" && mkdir -p "$work" && cd "$work" || exit 1

fail() { failures=$((failures + 1)); printf 'FAILED: %s\n' "$*" >&2; }

# run CODE command...: output in $out (stdout and stderr together); the exit code must be CODE.
run() {
    local want=$1 code
    shift
    checks=$((checks + 1))
    out=$("$@" 2>&1)
    code=$?
    [ $code = "$want" ] || fail "exit $code, expected $want: $* :: $out"
}

# says TEXT: the last output contains it.
says() { checks=$((checks + 1)); [[ "$out" == *"$1"* ]] || fail "output lacks '$1' :: $out"; }
# lacks TEXT
lacks() { checks=$((checks + 1)); [[ "$out" != *"$1"* ]] || fail "output should not say '$1' :: $out"; }
is_file() { checks=$((checks + 1)); [ -s "$1" ] || fail "no file $1, or it is empty"; }
# equal A B what
equal() { checks=$((checks + 1)); [ "$1" = "$2" ] || fail "$3: '$1' is not '$2'"; }

# use_seed USUAL TEST: random numbers ($RANDOM) of GANDIST_SEED, else of USUAL; says how to repeat them.
use_seed() {
    local seed=${GANDIST_SEED:-$1}
    RANDOM=$seed
    echo "seed $seed; repeat: GANDIST_SEED=$seed ctest -R '^$2\$' --output-on-failure"
}

g() { "$GANDIST_BIN" "$@"; }
mpi() { local n=$1; shift; mpirun --oversubscribe --allow-run-as-root -np "$n" "$GANDIST_BIN" "$@"; }
hash_of() { g verify --hash "$1"; }

# A DCGAN that trains in a blink, on synthetic images: no data set needed.
tiny_recipe() {
    cat >"$1" <<'YAML'
name: tiny
seed: 3
data: {source: synthetic, image: {size: 32, channels: 1}, count: 512}
batch: {global: 16}
topology: noise
generator: {arch: dcgan, latent: 16, width: 4}
discriminator: {arch: dcgan, width: 4}
loss: {kind: non-saturating}
schedule: {d_steps: 1, g_steps: 1, share_fake: true}
optimizer:
  g: {kind: adam, lr: 2e-4, betas: [0.5, 0.999]}
  d: {kind: adam, lr: 2e-4, betas: [0.5, 0.999]}
ema: {decay: 0.9}
train: {steps: 12}
checkpoint: {every: 4, keep: 3}
log: {every: 1, samples: {every: 6, n: 4}}
YAML
}

# A GAN on points in the plane: a thousand steps a second, by several ranks, too.
points_recipe() {
    cat >"$1" <<'YAML'
name: points
seed: 3
data: {source: ring, count: 512}
batch: {global: 16}
topology: noise
generator: {arch: mlp, latent: 4, width: 16, depth: 2, output: none}
discriminator: {arch: mlp, width: 16, depth: 2}
loss: {kind: non-saturating}
optimizer:
  g: {kind: adam, lr: 2e-4, betas: [0.5, 0.999]}
  d: {kind: adam, lr: 2e-4, betas: [0.5, 0.999]}
ema: {decay: 0.9}
train: {steps: 100000}
checkpoint: {every: 20, keep: 3}
log: {every: 100, samples: {every: 100000, n: 4}}
YAML
}

# A pix2pix and a CycleGAN that train in a blink, on pairs of random pictures.
paired_recipe() {
    cat >"$1" <<'YAML'
name: paired
seed: 3
data: {source: synthetic-pairs, image: {size: 64, channels: 3}, count: 32}
batch: {global: 4}
topology: paired
generator: {arch: unet, width: 4, depth: 6, dropout: 0.5}
discriminator: {arch: patchgan, width: 4, depth: 1}
loss: {kind: non-saturating, d_scale: 0.5, terms: {l1: 100}}
schedule: {share_fake: true}
train: {steps: 4}
checkpoint: {every: 4}
log: {every: 1, samples: {every: 4, n: 4}}
YAML
}
two_way_recipe() {
    cat >"$1" <<'YAML'
name: both
seed: 3
data: {source: synthetic-pairs, image: {size: 32, channels: 3}, count: 32}
batch: {global: 2}
topology: two-way
generator: {arch: resnet, width: 4, depth: 1}
discriminator: {arch: patchgan, width: 4, depth: 1}
loss: {kind: least-squares, d_scale: 0.5, terms: {cycle_a: 10, cycle_b: 10, identity: 0.5}}
schedule: {share_fake: true, first: generator}
pool: {size: 8}
train: {steps: 4}
checkpoint: {every: 4}
log: {every: 1, samples: {every: 4, n: 4}}
YAML
}

finish() {
    echo "$checks checks, $failures failures"
    [ $checks -gt 0 ] && [ $failures = 0 ]
    exit $?
}
