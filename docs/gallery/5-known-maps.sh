#!/bin/bash
# Unpaired translation scored exactly: in these two sets the true map is known (mirror, invert), so the L1 distance of a
# translation to the truth is a score that no network decides. It falls while training; the identity map is the floor
# to beat. Zhu et al. 2017; Kim et al. 2017.
source "$(dirname "$0")/lib.sh"
row "method" "set" "L1 to the truth after 20 % of the steps" "at the end"
for recipe in cyclegan discogan; do
    small=(--set generator.width=16 --set discriminator.width=16 --set train.steps=1500)
    [[ $recipe == discogan ]] && small+=(--set data.image.size=32 --set loss.terms.rate.steps=500)
    for data in fashion-invert fashion-hflip; do
        run=maps-$recipe-$data
        train $run $recipe --set data.source=$data "${small[@]}" --steps 300
        early=$(score $run l1 l1)
        train $run $recipe --set data.source=$data "${small[@]}"
        row "$recipe" "$data" "$early" "$(score $run l1 l1)"
        picture "$(sheet $run)" "$recipe, $data"
    done
done
finish
