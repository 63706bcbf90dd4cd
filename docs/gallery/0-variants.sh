#!/bin/bash
# Every variant at the quick settings of its recipe's header, on two cores that had other work beside it.
source "$(dirname "$0")/lib.sh"
row "recipe" "iterations" "minutes, at most" "command"

# The first command of a recipe's header: what follows "mpirun -np 2 gandist", on one line.
quick() {
    sed -n '/^#   \(mpirun -np 2 \)\?gandist/,/[^\\]$/p' "recipes/$1.yaml" | sed 's/^# *//; s/\\$//' | tr -d '\n' |
        sed 's/mpirun -np 2 gandist/\n&/2; s/  */ /g' | head -1
}

# minutes RUN: time between the first and the last line of its metrics, by the pictures per second.
minutes() {
    /usr/bin/python3 - "$RUNS/$1/metrics.jsonl" <<'PY'
import json, sys
seconds, before = 0, 0
for line in open(sys.argv[1]):
    row = json.loads(line)
    seconds += (row["images"] - before) / row["images_per_s"]
    before = row["images"]
print(f"{seconds / 60:.1f}")
PY
}
for recipe in gan dcgan wgan wgan-gp pix2pix cyclegan discogan; do
    command=$(quick $recipe)
    read -ra options <<<"${command#*recipes/$recipe.yaml}"
    train quick-$recipe $recipe "${options[@]}"
    row "$recipe" "$(tail -1 "$RUNS/quick-$recipe/metrics.jsonl" | sed 's/{"step":\([0-9]*\).*/\1/')" \
        "$(minutes quick-$recipe)" "\`$command\`"
    picture "$(sheet quick-$recipe)" "$recipe"
done
finish
