"""Reads the JSON line of `gandist evaluate --json` and prints the named figures, separated by " | ".

Two-way runs are measured in both directions: "a / b". NAME.floor is the floor that stands beside a figure.
"""
import json
import sys


def text(entry):
    value, error = entry
    return f"{value:.3g}" if error is None else f"{value:.3g} ± {error:.2g}"


results = [r for line in sys.stdin if line.strip() for r in json.loads(line)["results"]]
cells = []
for wanted in sys.argv[1:]:
    name, _, part = wanted.partition(".")
    found = [r["metrics"][name] for r in results if name in r["metrics"]]
    if not found:
        sys.exit(f"evaluate gave no {name}; it gave {', '.join(sorted(k for r in results for k in r['metrics']))}")
    cells.append(" / ".join(text((m[part or "value"], None if part else m.get("error"))) for m in found))
print(" | ".join(cells))
