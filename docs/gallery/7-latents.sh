#!/bin/bash
# DCGAN's latent space: walks between samples (linear and spherical), and arithmetic with mean latents.
# Radford et al. 2015, sections 6.1 and 6.3. Each row of the sums: three samples and what their mean latent gives; the last
# row is the result and three points near it. The numbers are those of tiles in the run's last sample sheet.
source "$(dirname "$0")/lib.sh"
row "picture" "command"
train latents dcgan
run=$RUNS/latents
show() {
    local title=$1
    shift
    local file="$RUNS/latents-${title// /-}.png"
    "$GANDIST" "$1" "$run" "${@:2}" --out "$file" >&2
    row "$title" "\`gandist $1 RUN ${*:2}\`"
    picture "$file" "$title"
}
show linear interpolate --from 3 --to 12 --steps 8
show slerp interpolate --from 3 --to 12 --steps 8 --mode slerp
show "light pullovers + trousers - dark pullovers" arithmetic --plus 2,57,59 --minus 3,5,20 --plus 1,53,12
show "light boots + dark pullovers - light tops" arithmetic --plus 10,36,49 --minus 14,22,59 --plus 3,5,20
finish
