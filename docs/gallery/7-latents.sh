#!/bin/bash
# DCGAN's latent space: walks between samples (linear and spherical), and arithmetic with mean latents.
# Radford et al. 2015, sections 6.1 and 6.3.
source "$(dirname "$0")/lib.sh"
row "picture" "command"
train latents dcgan
run=$RUNS/latents
show() {
    local title=$1
    shift
    local file=$RUNS/latents-$title.png
    "$GANDIST" "$1" "$run" "${@:2}" --out "$file" >&2
    row "$title" "\`gandist $1 RUN ${*:2}\`"
    picture "$file" "$title"
}
show linear interpolate --from 3 --to 12 --steps 8
show slerp interpolate --from 3 --to 12 --steps 8 --mode slerp
show sum arithmetic --plus 1,4,9 --minus 2,3,5 --plus 7,8,11
finish
