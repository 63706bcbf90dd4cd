# Saved on N ranks, resumed on M: the bytes of a run on one rank that never stopped. 12 pairs of {1,2,3,4,6,8},
# with --long all 36. Repeat: ctest -R cli.reshard
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tiny_recipe tiny.yaml
exact=(--set numerics.shards=24 --set batch.global=24 --set train.steps=6 --set checkpoint.every=0
    --set log.samples.every=6 --quiet)
pairs="1:8 8:1 2:3 3:2 4:6 6:4 1:3 8:6 2:4 4:2 3:8 6:1"
[ "${1:-}" != --long ] || pairs=$(for n in 1 2 3 4 6 8; do for m in 1 2 3 4 6 8; do echo $n:$m; done; done)

run 0 g tiny.yaml --out whole "${exact[@]}"
whole=$(hash_of whole)
run 0 g tiny.yaml --out half "${exact[@]}" --steps 3
half=$(hash_of half)
for n in 1 2 3 4 6 8; do
    run 0 mpi $n tiny.yaml --out from$n "${exact[@]}" --steps 3
    equal "$(hash_of from$n)" "$half" "state hash saved by $n ranks"
    equal "$(ls from$n/checkpoints/step-000000000003/*.safetensors | wc -l)" $n "shards of $n ranks"
done
for pair in $pairs; do
    n=${pair%:*} m=${pair#*:}
    cp -r from$n to
    run 0 mpi $m tiny.yaml --out to "${exact[@]}"
    equal "$(hash_of to)" "$whole" "hash saved by $n ranks, resumed by $m"
    rm -rf to
done
finish
