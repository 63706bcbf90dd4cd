#!/bin/bash
# Which losses keep all modes: 8 Gaussians on a ring and 25 on a grid, the same networks for all.
source "$(dirname "$0")/lib.sh"
row "loss" "ring: modes of 8" "near a mode" "reverse KL" "grid: modes of 25" "near a mode" "reverse KL"
small=(--set generator.width=128 --set discriminator.width=128 --set optimizer.d.lr=1e-3 --set optimizer.g.lr=1e-3
    --set train.steps=4000)
plain=(--set loss.penalty.kind=none --set schedule.d_steps=1 --set 'optimizer.g.betas=[0.5, 0.999]'
    --set 'optimizer.d.betas=[0.5, 0.999]')
for loss in non-saturating least-squares hinge wasserstein; do
    set=(--set "loss.kind=$loss")
    [[ $loss == wasserstein ]] || set+=("${plain[@]}")
    for data in ring grid; do train "modes-$loss-$data" wgan-gp-2d "${small[@]}" --set data.source=$data "${set[@]}"; done
    label=$loss
    [[ $loss == wasserstein ]] && label="wasserstein, gradient penalty"
    row "$label" "$(score "modes-$loss-ring" modes modes_hit high_quality reverse_kl)" \
        "$(score "modes-$loss-grid" modes modes_hit high_quality reverse_kl)"
    picture "$(sheet "modes-$loss-grid")" "$label"
done
finish
