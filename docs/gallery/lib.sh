# What every experiment of the gallery uses. Source it; then: train, mean, score, caption, montage, table.
# GANDIST names the binary (default: the release build), RUNS the folder of the runs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
GANDIST=${GANDIST:-$root/build/release/launch/gandist}
RUNS=${RUNS:-$root/runs/gallery}
name=$(basename "$0" .sh)
table=$here/$name.md
pictures=()
captions=()
mkdir -p "$RUNS"
cd "$root"

# train RUN RECIPE [OPTION...]: trains into $RUNS/RUN; a finished run is not trained again.
train() {
    local run=$1 recipe=$2
    shift 2
    echo "== $run" >&2
    "$GANDIST" "recipes/$recipe.yaml" --out "$RUNS/$run" --quiet "$@" >&2
}

# mean RUN METRIC FROM TO: mean of the logged values of steps FROM..TO, three significant digits.
mean() {
    /usr/bin/python3 - "$RUNS/$1/metrics.jsonl" "$2" "$3" "$4" <<'PY'
import json, sys
path, metric, low, high = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rows = [json.loads(line) for line in open(path)]
values = [r[metric] for r in rows if low <= r["step"] <= high and metric in r]
if not values:
    sys.exit(f"{path}: no {metric} in steps {low}..{high}")
print(f"{sum(values) / len(values):.3g}")
PY
}

# score RUN METRICS FIELD... [-- OPTION...]: numbers of `gandist evaluate`, separated by " | ".
score() {
    local run=$1 metrics=$2 fields=()
    shift 2
    while [[ $# -gt 0 && $1 != -- ]]; do
        fields+=("$1")
        shift
    done
    [[ $# -gt 0 ]] && shift
    "$GANDIST" evaluate "$RUNS/$run" --metrics "$metrics" --json "$@" | /usr/bin/python3 "$here/pick.py" "${fields[@]}"
}

# Newest sample sheet of a run.
sheet() { find "$RUNS/$1/samples" -name '*.png' | sort | tail -1; }

# picture FILE CAPTION: the next picture of the montage.
picture() {
    pictures+=("$1")
    captions+=("$2")
}

# Puts the pictures side by side into NAME.png.
montage() { /usr/bin/python3 "$here/montage.py" "$here/$name.png" "${pictures[@]}" -- "${captions[@]}"; }

# row CELL...: a row of the table; the first row is the heading.
row() {
    local cell line="|"
    for cell in "$@"; do
        [[ -n $cell ]] || { echo "$name: a cell of the table is empty: what should fill it failed above" >&2; exit 1; }
        line+=" $cell |"
    done
    if [[ ! -s $table.new ]]; then
        printf '%s\n' "$line" >"$table.new"
        line="|"
        for cell in "$@"; do line+="---|"; done
    fi
    printf '%s\n' "$line" >>"$table.new"
}

finish() {
    montage
    mv "$table.new" "$table"
    cat "$table"
}
rm -f "$table.new"
