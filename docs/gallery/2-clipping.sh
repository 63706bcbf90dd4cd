#!/bin/bash
# Weight clipping has to be tuned: with c too small the critic's slope vanishes, with c too large training blows up or
# takes long to reach it. A gradient penalty needs no such number. Gulrajani et al. 2017, section 3, on 25 Gaussians.
source "$(dirname "$0")/lib.sh"
small=(--set generator.width=128 --set discriminator.width=128 --set train.steps=4000)
row "critic" "gradient norm of the generator" "modes of 25" "share near a mode" "reverse KL"
for clip in 0.001 0.03 1; do
    run=clipping-$clip
    train "$run" wgan-gp-2d "${small[@]}" --set loss.penalty.kind=none --set loss.clip=$clip \
        --set optimizer.d.kind=rmsprop --set optimizer.g.kind=rmsprop --set optimizer.d.lr=5e-4 --set optimizer.g.lr=5e-4
    row "clip $clip" "$(mean "$run" grad_norm_g 100 100000)" "$(score "$run" modes modes_hit high_quality reverse_kl)"
    picture "$(sheet "$run")" "clip $clip"
done
train clipping-gp wgan-gp-2d "${small[@]}" --set optimizer.d.lr=1e-3 --set optimizer.g.lr=1e-3
row "gradient penalty" "$(mean clipping-gp grad_norm_g 100 100000)" "$(score clipping-gp modes modes_hit high_quality reverse_kl)"
picture "$(sheet clipping-gp)" "gradient penalty"
finish
