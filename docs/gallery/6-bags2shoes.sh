#!/bin/bash
# DiscoGAN's own experiment on clothes: bags to shoes and back without pairs. Kim et al. 2017, section 4.2.
# Each row: a bag, the shoe made of it, the bag made of that shoe; then the other way round.
source "$(dirname "$0")/lib.sh"
row "step" "cycle a" "cycle b" "loss D"
train bags2shoes discogan --set generator.width=16 --set discriminator.width=16 --set data.image.size=32 \
    --set loss.terms.rate.steps=1000 --set train.steps=3000
for to in 500 1500 3000; do
    from=$((to - 250))
    row "$to" "$(mean bags2shoes cycle_a $from $to)" "$(mean bags2shoes cycle_b $from $to)" \
        "$(mean bags2shoes loss_d $from $to)"
done
picture "$(sheet bags2shoes)" "bags to shoes and back"
finish
