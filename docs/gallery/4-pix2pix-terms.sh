#!/bin/bash
# What the two terms of pix2pix do, edges to clothes: L1 alone blurs, the adversarial term alone invents, both together
# are sharp and near. Isola et al. 2017, section 4.1. Each row of a sheet: input, output, target.
source "$(dirname "$0")/lib.sh"
small=(--set generator.width=16 --set discriminator.width=16 --set train.steps=2000)
row "loss" "L1 to the target" "Frechet distance (classifier)"
train ../classifier classifier
for terms in "l1 0 100" "gan 1 0" "both 1 100"; do
    read -r run adversarial l1 <<<"$terms"
    train terms-$run pix2pix --set loss.g_scale=$adversarial --set loss.terms.l1=$l1 "${small[@]}"
    row "$run" "$(score terms-$run l1 l1)" \
        "$(score terms-$run fd fd -- --classifier "$RUNS/../classifier")"
    picture "$(sheet terms-$run)" "$run"
done
finish
