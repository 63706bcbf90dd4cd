# An error ends all ranks with its own exit code, whichever of them saw it. Every rank has a working folder of its own
# here, so one alone can have bad data, as on a cluster whose hosts hold copies.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
png="$GANDIST_SOURCE_DIR/tests/cli/png.py"
tiny_recipe tiny.yaml
mkdir -p good/faces damaged none empty/faces
for i in $(seq -w 48); do python3 "$png" make "good/faces/$i.png" 32 32 1 "$((10#$i + 3))"; done
cp -r good/faces damaged/
python3 - <<'PY'
import glob
for path in glob.glob("damaged/faces/*.png"): # found out when they are decoded
    data = bytearray(open(path, "rb").read())
    at = data.index(b"IDAT")
    data[at + 8:at + 40] = bytes(32)
    open(path, "wb").write(data)
PY

# ends CODE RANK TEXT FOLDER...: one rank in each folder; all end with CODE, and what RANK found is told once.
ends() {
    local code=$1 rank=$2 text=$3 job=() folder
    shift 3
    rm -rf out
    for folder; do
        [ ${#job[@]} = 0 ] || job+=(:)
        job+=(-np 1 -wdir "$PWD/$folder" "$GANDIST_BIN" "$PWD/tiny.yaml" --out "$PWD/out" --fresh
            --set data.source=folder --set data.path=faces --set data.count=0)
    done
    run "$code" timeout 60 mpirun --oversubscribe --allow-run-as-root "${job[@]}"
    says "$text"
    [ "$rank" = 0 ] || says "gandist: rank $rank: "
    equal "$(grep -c '^gandist: ' <<<"$out")" 1 "how often the error is told :: $out"
    [ ! -e out/events.jsonl ] || equal "$(sed -n 's/.*"exit":\([0-9]*\).*/\1/p' out/events.jsonl | tail -n 1)" "$code" "exit in events.jsonl"
}

ends 65 0 .png damaged good
ends 65 1 .png good damaged
ends 65 3 .png good good good damaged
ends 66 0 faces none good
ends 66 1 faces good none
ends 66 2 faces good good none good
# Two errors of two kinds: the lower rank's counts.
ends 66 1 faces good none good empty
ends 65 1 "0 images" good empty good none
equal "$(pgrep -f "$GANDIST_TEST_TMP/work" | wc -l)" 0 "processes that are left"
finish
