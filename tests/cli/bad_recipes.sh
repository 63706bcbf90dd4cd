# Bad recipes get the message the catalogue promises: file:line:column, what, what to do.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bad() { # bad CODE TEXT < recipe
    cat >bad.yaml
    run "$1" g train bad.yaml --dry-run
    says "$2"
}
tiny_recipe tiny.yaml
edit() { sed "$1" tiny.yaml; }
: | bad 65 "bad.yaml: empty"
edit 's/^train:.*/train: {stesp: 4}/' | bad 65 "bad.yaml:14:9: unknown key 'stesp' in 'train'; did you mean 'steps'?"
edit 's/^train:.*/train: {steps: many}/' | bad 65 "bad.yaml:14:16: 'train.steps' wants an integer, got text \"many\""
edit 's/^train:.*/train: {steps: 1e5}/' | bad 65 "write 100000"
edit 's/^train:.*/train: {steps: 99999999999999999999}/' | bad 65 "does not fit"
edit 's/^train:.*//' | bad 65 "'train.steps' is required"
edit 's/kind: non-saturating/kind: hindge/' | bad 65 "did you mean 'hinge'"
edit 's/lr: 2e-4/lr: -1/' | bad 65 "got -1"
edit 's/lr: 2e-4/learning_rate: 1/' | bad 65 "did you mean 'lr'"
edit 's/^seed: 3/seed: .nan/' | bad 65 "bad.yaml:2:7"
edit 's/^seed: 3/seed: 3\nseed: 4/' | bad 65 "given twice; first at line 2"
edit 's/^seed: 3/seed: 3\nbatch_size: 4/' | bad 65 "did you mean 'batch.global'"
edit 's/^batch: .*/batch: {global: 16/' | bad 65 "bad.yaml:4:8: '{' opened here is never closed"
edit 's/^batch: .*/batch: \&a {global: 16}/' | bad 65 "anchors"
edit 's/^  g: /\tg: /' | bad 65 "bad.yaml:11:1: tab"
edit 's/size: 32/size: 100/' | bad 65 "not a multiple of"
edit 's/d_steps: 1/d_steps: 0/' | bad 65 "d_steps"
edit 's/kind: non-saturating/kind: hinge, clip: 0.01/' | bad 65 "means nothing while 'loss.kind' is hinge"
edit 's/^topology: noise/topology: paired/' | bad 65 "bad.yaml:3:16: source 'synthetic' does not fit: topology 'paired' (bad.yaml:5:11)"
edit 's/size: 32,/size: 32, load: 16,/' | bad 65 "bad.yaml:3:51: 'data.image.load' is 16, but 32 pixels"
edit 's/kind: non-saturating/kind: hinge, penalty: {kind: gradient, lambda: 0}/' | bad 65 "'loss.penalty.lambda' must be > 0; got 0"
edit 's/kind: non-saturating/penalty: {kind: gradient}/' | bad 65 "norm"
edit 's/d_steps: 1/d_steps: 5000/' | bad 65 "'schedule.d_steps' must be in [1, 1000]; got 5000"
edit 's/^ema: .*/pool: {size: 50}/' | bad 65 "'pool.size' (generated images of each domain"
edit 's/^name: tiny/extends: nowhere.yaml/' | bad 65 "bad.yaml:1:10: 'extends' cannot be followed: nowhere.yaml: no such file"
edit 's/^seed: 3/seed: a/; s/^batch: .*/batch: {global: b}/' | bad 65 "bad.yaml:2:7"; says "bad.yaml:4:17"
head -c 2000000 /dev/zero | tr '\0' ' ' | bad 65 "larger than 1 MiB"
printf 'name: %s' "$(head -c 100000 /dev/zero | tr '\0' '[')" | bad 65 "nesting deeper than 32"
printf 'seed: 1\xff\n' | bad 65 "bad.yaml:1:8: byte 0xFF at offset 7 is not UTF-8"

# The command line: the same checks, told with the number of the argument.
run 64 g train tiny.yaml --dry-run --set seed=1 --set train.stesp=1; says "--set #2: unknown key 'stesp' in 'train'"
run 64 g train tiny.yaml --dry-run --set seed; says "expected KEY=VALUE"

run 65 mpi 3 tiny.yaml --steps 1; says "global batch 16 over 3 ranks"
run 66 g train .; says "is a directory"
run 66 g train tyni.yaml; says "tyni.yaml: no such file; did you mean 'tiny.yaml'?"
mkfifo pipe.yaml; run 66 timeout 5 "$GANDIST_BIN" train pipe.yaml; says "pipe.yaml: is a FIFO"

finish
