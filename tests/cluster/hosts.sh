# 4 hosts x 4 ranks in network namespaces: the bytes and losses of one host and of one rank; what the start table says; two
# jobs on one run folder;
# different builds, libraries and recipes are found before anything is trained. With --long all kinds of recipes.
. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
lab_up 4
same=(--set numerics.shards=16 --set batch.global=16 --set log.every=1)

losses() { python3 - "$1" <<'PY'
import json, sys
for m in map(json.loads, open(sys.argv[1] + "/metrics.jsonl")):
    print({k: v for k, v in m.items() if k.startswith(("loss", "d_real", "d_fake", "grad_norm")) or k in ("step", "images")})
PY
}
# same_everywhere NAME RECIPE ARGUMENT...
same_everywhere() {
    local name=$1 recipe=$2
    shift 2
    run 0 on_hosts 16 "$recipe" --out "$name-hosts" "${same[@]}" "$@"
    table=$out
    nothing_left "$name on 4 hosts"
    run 0 mpi 4 "$recipe" --out "$name-host" "${same[@]}" "$@"
    run 0 g "$recipe" --out "$name-rank" "${same[@]}" "$@"
    equal "$(hash_of "$name-hosts")" "$(hash_of "$name-rank")" "$name: hash on 4 hosts and of one rank"
    equal "$(hash_of "$name-host")" "$(hash_of "$name-rank")" "$name: hash on one host and of one rank"
    equal "$(losses "$name-hosts")" "$(losses "$name-rank")" "$name: losses on 4 hosts and of one rank"
}

tiny_recipe tiny.yaml
same_everywhere tiny tiny.yaml --set train.steps=8
out=$table
says "16 ranks on 4 hosts"; says "node1 ... node4 (4 hosts): 4 ranks each"; says "1 a rank"
says "shared memory within a host, MPI between one rank of each host"
run 0 g status tiny-hosts; says "16 on node1 node2 node3 node4"
equal "$(ls tiny-hosts/heartbeat)" "" "files of hosts after the end"

# Two jobs on one run folder, from two hosts: one trains, the other one is refused, and nothing happens to the first.
twice=(tiny.yaml --set checkpoint.every=50 --set log.every=1000 --set log.samples.every=1000000 --set train.steps=1000000)
from node1 "${twice[@]}" --out both >both.log 2>&1 &
first=$!
wait_for 30 has_event both save
run 73 from node2 "${twice[@]}" --out both; says "is using this run folder: process "; says " on node1"
run 73 from node2 "${twice[@]}" --out both --fresh; says " on node1"
run 0 g status both; says "both: training"; says " on node1"
touch both/stop; wait $first
equal $? 75 "exit code of the first of two jobs"
equal "$(grep -c '"event":"\(re\)\?start"' both/events.jsonl)" 1 "starts of a run that two jobs wanted"
for host in node1 node2; do from $host tiny.yaml --out race --set train.steps=300 --set log.every=1000 >race-$host.log 2>&1 & done
wait
codes=$(for host in node1 node2; do grep -q 'done at step 300' race-$host.log && echo done; grep -o 'is using this run folder' race-$host.log; done | sort | xargs)
checks=$((checks + 1)) # the second may also come after the first has ended: then it has nothing to do
[ "$codes" = "done is using this run folder" ] || [ "$codes" = "done done" ] || fail "two jobs at once: $codes :: $(cat race-*.log)"
run 0 g verify race
nothing_left "two jobs on one folder"
ends_equal both "${twice[@]}"

if [ "${1:-}" = --long ]; then
    points_recipe points.yaml; paired_recipe paired.yaml; two_way_recipe both.yaml
    same_everywhere points points.yaml --set train.steps=200
    same_everywhere penalty points.yaml --set train.steps=60 --set loss.kind=wasserstein --set loss.penalty.kind=gradient --set schedule.d_steps=5
    same_everywhere clip tiny.yaml --set loss.kind=wasserstein --set loss.clip=0.01 --set schedule.share_fake=false --set schedule.d_steps=3
    same_everywhere sharded tiny.yaml --set optimizer.shard=true --set train.steps=20
    same_everywhere pairs paired.yaml --set data.count=64
    same_everywhere both both.yaml --set data.count=64
    same_everywhere disco both.yaml --set data.count=64 --set generator.arch=disco --set generator.width=4
    finish
fi

# ---- hosts that are not alike: another file under the same name on node3 ----

mount_on() { hosts run "$1" mount --bind "$2" "$3"; }
flip_build_id() { python3 - "$1" "$2" <<'PY'
import subprocess, sys
notes = subprocess.run(["readelf", "-n", sys.argv[1]], capture_output=True, text=True).stdout
build = bytes.fromhex(notes.split("Build ID:")[1].split()[0])
data = open(sys.argv[1], "rb").read()
assert data.count(build) == 1
open(sys.argv[2], "wb").write(data.replace(build, bytes([build[0] ^ 255]) + build[1:]))
PY
chmod +x "$2"; }
build_of() { readelf -n "$1" | sed -n 's/.*Build ID: \(................\).*/\1/p'; }

# A recipe: rank 0's counts, and it is said who has another one.
sed 's/lr: 2e-4/lr: 3e-4/' tiny.yaml >other.yaml
mount_on node3 "$PWD/other.yaml" "$PWD/tiny.yaml"
run 0 on_hosts 16 tiny.yaml --out recipes "${same[@]}" --set train.steps=8
says "hosts have different recipes of this name, that of rank 0 counts"
hashes=$(sed -n 's/.*hashes: //p' <<<"$out")
equal "$(grep -o 'node[0-9]' <<<"$hashes" | sort | xargs)" "node1 node2 node3 node4" "hosts with their recipes"
equal "$(awk '{for (i = 2; i <= NF; i += 2) {gsub(",", "", $i); n[$i]++}} END {print length(n)}' <<<"$hashes")" 2 "different recipes"
equal "$(hash_of recipes)" "$(hash_of tiny-rank)" "hash with a recipe that differs on one host"
hosts run node3 umount "$PWD/tiny.yaml"

# A build, and a library: refused before there is a run folder.
flip_build_id "$GANDIST_BIN" other-build
mount_on node3 "$PWD/other-build" "$GANDIST_BIN"
run 69 on_hosts 16 tiny.yaml --out builds "${same[@]}"
says "ranks run different builds"; says "rank 0 on node1: build $(build_of "$GANDIST_BIN")"
says "rank 8 on node3: build $(build_of other-build)"; says "rank 12 on node4: build $(build_of "$GANDIST_BIN")"
lacks "libgomp"
equal "$(grep -c 'ranks run different builds' <<<"$out")" 1 "how often it is said"
checks=$((checks + 1)); [ ! -e builds ] || fail "ranks of different builds made a run folder"
hosts run node3 umount "$GANDIST_BIN"
nothing_left "different builds"

library=$(readlink -f "$(ldd "$GANDIST_BIN" | awk '$1 ~ /^libgomp/ {print $3}')")
flip_build_id "$library" other-library
mount_on node2 "$PWD/other-library" "$library"
run 69 on_hosts 16 tiny.yaml --out libraries "${same[@]}"
says "rank 4 on node2"; says "libgomp $(build_of other-library)"; says "libgomp $(build_of "$library")"
hosts run node2 umount "$library"
run 0 on_hosts 16 tiny.yaml --out again "${same[@]}" --set train.steps=2
finish
