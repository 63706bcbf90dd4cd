# gandist bench --scaling: the same work per rank on one and two ranks, efficiency, and refusals.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tiny_recipe tiny.yaml
run 0 timeout 100 "$GANDIST_BIN" bench tiny.yaml --scaling 1,2 --batch 4 --steps 5 --warmup 1 --json
rows=$(grep '^{' <<<"$out")
run 0 python3 - <<PY
import json
rows = [json.loads(x) for x in """$rows""".splitlines()]
assert [r["ranks"] for r in rows] == [1, 2], rows
one, two = rows
assert one["efficiency"] == 1 and one["limit"] == "-" and one["exposed_comm"] == one["wait"] == 0, one
assert 0 < two["efficiency"] < 1.5 and two["exposed_comm"] > 0, two
assert abs(two["images_per_s"] - 8 / two["iteration"]) < 0.01 * two["images_per_s"], two
assert abs(two["efficiency"] - two["images_per_s"] / 2 / one["images_per_s"]) < 1e-3, two
assert two["limit"] in ("-", "compute", "data", "exposed communication", "waiting for slower ranks", "oversubscribed"), two
for r in rows:
    assert abs(r["compute"] + r["data"] + r["exposed_comm"] + r["wait"] - r["iteration"]) < 1e-5, r
PY
run 0 timeout 100 "$GANDIST_BIN" bench tiny.yaml --scaling 1,2 --batch 4 --steps 5 --warmup 1 --rounds 3 --json
rows=$(grep '^{' <<<"$out")
run 0 python3 - <<PY
import json
rows = [json.loads(x) for x in """$rows""".splitlines()]
assert [r["ranks"] for r in rows] == [1, 2] and [r["rounds"] for r in rows] == [3, 3], rows
assert all(r["efficiency_least"] <= r["efficiency"] <= r["efficiency_most"] for r in rows), rows
assert rows[0]["efficiency_least"] == rows[0]["efficiency_most"] == rows[0]["efficiency_fastest"] == 1, rows
assert 0 < rows[1]["efficiency_least"], rows
assert rows[1]["efficiency_least"] - 1e-3 <= rows[1]["efficiency_fastest"] <= rows[1]["efficiency_most"] + 1e-3, rows
PY
run 0 timeout 100 "$GANDIST_BIN" bench tiny.yaml --scaling 2 --steps 5 --warmup 1 --threads 1
says "8 samples a rank, 1 thread each"
says "100.0 %"

for list in 2,1 1,1 1,,2 1, ,1 zero 0 1,2x -1; do
    run 64 "$GANDIST_BIN" bench tiny.yaml --scaling=$list
    says "rising numbers of ranks"
done
for option in threads rounds; do
    run 64 "$GANDIST_BIN" bench tiny.yaml --$option 2
    says "only with --scaling"
done
for rounds in -1 100; do
    run 64 "$GANDIST_BIN" bench tiny.yaml --scaling 1 --rounds=$rounds
    says "--rounds: expected 1 to 99"
done
run 64 mpirun --oversubscribe --allow-run-as-root -np 2 "$GANDIST_BIN" bench tiny.yaml --scaling 1,2
says "starts mpirun itself"
run 69 "$GANDIST_BIN" bench tiny.yaml --scaling 1 --launcher no-such-launcher
says "no-such-launcher"
run 64 "$GANDIST_BIN" bench tiny.yaml --scaling 1,2 --set no.such=1
run 69 "$GANDIST_BIN" bench tiny.yaml --scaling 2 --launcher false
says "the run ended with exit code 1"
finish
