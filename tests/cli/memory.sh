# What --dry-run announces is what a run takes: peak memory within 10 %.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
if [ -n "$GANDIST_SANITIZE_FLAGS" ]; then
    echo "sanitizers keep memory of their own: nothing to compare"
    exit 77
fi
cat >compare.py <<'PY'
import json, resource, subprocess, sys
command = [sys.argv[1], sys.argv[2], "--set", "batch.global=16"]
told = json.loads(subprocess.check_output(command + ["--dry-run", "--json"]))["total_bytes"]
subprocess.check_call(command + ["--out", "run", "--fresh", "--steps", "3", "--quiet"], stdout=subprocess.DEVNULL)
took = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print("announced %.1f MB, took %.1f MB" % (told / 1e6, took / 1e6))
sys.exit(abs(took / told - 1) > 0.1)
PY
for recipe in dcgan-64 dcgan; do
    run 0 python3 compare.py "$GANDIST_BIN" "$GANDIST_SOURCE_DIR/recipes/$recipe.yaml"
    says "announced"
    echo "$recipe: $out"
done
finish
