#!/bin/bash
# The minimax loss loses its gradient when the discriminator is ahead; the non-saturating loss does not.
# Goodfellow et al. 2014, section 3. Five discriminator updates per generator update keep the discriminator ahead.
source "$(dirname "$0")/lib.sh"
row "loss of the generator" "gradient norm, steps 1-100" "steps 250-300" "D(fake), steps 250-300"
for loss in minimax blend non-saturating; do
    set=(--set "loss.kind=$loss")
    [[ $loss == blend ]] && set+=(--set loss.minimax=0.5)
    train "saturation-$loss" gan "${set[@]}" --set schedule.d_steps=5 --set train.steps=300 --set log.every=10
    row "$loss" "$(mean "saturation-$loss" grad_norm_g 1 100)" "$(mean "saturation-$loss" grad_norm_g 250 300)" \
        "$(mean "saturation-$loss" d_fake 250 300)"
    picture "$(sheet "saturation-$loss")" "$loss"
done
finish
