#!/usr/bin/env python3
"""gandist and PyTorch on one GPU, in one run: JSON lines, then a table.

    tests/gpu/bench.py --gandist BIN [--python python3] [--device cuda] [--seconds 180] [--steps 30] [--only WORDS ...]

gandist: `gandist bench RECIPE --device cuda --json` in bf16, plans by timing. PyTorch: the same work (tests/bench/torch_step.py),
eager in f32 with TF32, bf16 with channels_last, and compiled. Floors: ../shared/gpu.md 3.3, for an H200; on another GPU they
are only a hint. Goals: at most 2.5 times the floor, and 1.3 times as fast as the best PyTorch.
Exit 1: an iteration of gandist could not be timed. A row of PyTorch that is missing is named; 77: nothing could be timed for want
of a GPU.
"""
import argparse
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
ROWS = [  # name, recipe, sets, PyTorch's work, batch, size, floor in ms
    ("DCGAN b128", "recipes/dcgan-64.yaml", [], "dcgan", 128, 0, 0.556),
    ("DCGAN b1024", "recipes/dcgan-64.yaml", [], "dcgan", 1024, 0, 3.99),
    ("WGAN-GP ResNet-64 b64", "tests/bench/wgan-gp-resnet-64.yaml", [], "wgan-gp-resnet", 64, 0, 25.8),
    ("pix2pix b1", "tests/bench/pix2pix-256.yaml", [], "pix2pix", 1, 256, 0.68),
    ("pix2pix b16", "tests/bench/pix2pix-256.yaml", [], "pix2pix", 16, 256, 2.55),
    ("CycleGAN b1", "tests/bench/cyclegan-128.yaml", ["data.image.size=256"], "cyclegan", 1, 256, 3.36),
    ("CycleGAN b8", "tests/bench/cyclegan-128.yaml", ["data.image.size=256"], "cyclegan", 8, 256, 23.2),
]
TORCH = [("eager", "f32:tf32"), ("bf16 channels_last", "bf16:channels_last,fused,freeze"),
         ("compiled", "bf16:channels_last,fused,freeze,compile"),
         ("compiled, graphs", "bf16:channels_last,fused,freeze,compile,graphs")]
FLOOR_GOAL, TORCH_GOAL = 2.5, 1.3


def say(row):
    print(json.dumps(row), flush=True)
    return row


def gandist(a, row, left):
    name, recipe, sets, _, batch, _, floor = row
    command = [a.gandist, "bench", os.path.join(ROOT, recipe), "--device", a.device, "--json", "--steps", str(a.steps)]
    for s in ["batch.global=%d" % batch, "numerics.precision=bf16", *sets, *a.set]:
        command += ["--set", s]
    out = {"stage": "bench", "row": name, "floor_ms": floor}
    try:
        env = dict(os.environ)
        env.setdefault("GANDIST_CUDA_TUNE", "timed")
        run = subprocess.run(command, capture_output=True, text=True, env=env, timeout=max(5, min(60, left)))
    except subprocess.TimeoutExpired as e:
        return say(dict(out, ok=False, why="over its limit of %d s" % e.timeout))
    if run.returncode:
        words = [line for line in run.stderr.splitlines() if line.strip()]
        return say(dict(out, ok=False, code=run.returncode, why=" ".join(words)[-300:]))
    try:
        told = json.loads(run.stdout)
        return say(dict(out, ok=told["iteration"] > 0, iteration=told["iteration"], d_step=told["d_step"], g_step=told["g_step"]))
    except (ValueError, KeyError, TypeError) as e:
        return say(dict(out, ok=False, why="no such answer: %s" % e))


def torch_rows(a, rows, left):
    """{(row, setting): seconds}, and why there are not more. Settings that matter most come first."""
    cases = ["%s, %s=%s:%d:%d:%s" % (r[0], label, r[3], r[4], r[5], how) for label, how in TORCH for r in rows]
    command = [a.python, os.path.join(HERE, "torch_rows.py"), "--device", a.device, "--steps", str(max(5, a.steps // 2)), *cases]
    found, why = {}, ""
    p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        text, _ = p.communicate(timeout=max(5, left))
    except subprocess.TimeoutExpired:
        p.kill()
        text, _ = p.communicate()
        why = "time was over"
    for line in text.splitlines():
        if not line.startswith("{"):
            continue
        told = say(json.loads(line))
        if told["ok"]:
            found[told["row"]] = told["iteration"]
    if not found:
        why = " ".join(text.split())[-200:] or why or "it said nothing"
    return found, why


def table(rows, ours, torch):
    labels = [label for label, _ in TORCH]
    print("\n| work | floor ms (H200) | gandist ms | of the floor | %s | gandist is faster by |" %
          " | ".join("PyTorch %s ms" % label for label in labels))
    print("|" + "---|" * (5 + len(labels)))
    near = fast = compared = 0
    for row in rows:
        mine, floor = ours[row[0]].get("iteration"), row[6]
        theirs = [torch.get("%s, %s" % (row[0], label)) for label in labels]
        best = min((t for t in theirs if t), default=None)
        ratio = best / mine if best and mine else None
        near += bool(mine) and mine * 1e3 <= FLOOR_GOAL * floor
        compared += ratio is not None
        fast += ratio is not None and ratio >= TORCH_GOAL
        ms = ["%.3f" % (t * 1e3) if t else "-" for t in theirs]
        print("| %s | %.3g | %s | %s | %s | %s |" % (row[0], floor, "%.3f" % (mine * 1e3) if mine else "-",
              "%.2f x" % (mine * 1e3 / floor) if mine else "-", " | ".join(ms), "%.2f x" % ratio if ratio else "-"))
    return near, fast, compared


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--gandist", required=True)
    p.add_argument("--python", default=sys.executable)
    p.add_argument("--device", default="cuda")
    p.add_argument("--seconds", type=float, default=180)
    p.add_argument("--steps", type=int, default=30)
    p.add_argument("--only", nargs="+", help="rows whose names begin so")
    p.add_argument("--set", action="append", default=[], help="for gandist, behind the row's own")
    a = p.parse_args()
    end = time.monotonic() + a.seconds
    rows = [r for r in ROWS if not a.only or any(r[0].startswith(o) for o in a.only)]
    if not rows:
        sys.exit("bench: no row begins with %s" % a.only)
    ours = {r[0]: gandist(a, r, 0.6 * (end - time.monotonic())) for r in rows}
    torch, why = torch_rows(a, rows, end - time.monotonic())
    near, fast, compared = table(rows, ours, torch)
    missing = [name for name, row in ours.items() if not row["ok"]]
    wanted = len(rows) * len(TORCH)
    print("%d of %d rows timed%s; %d at most %.1f x the floor, %d of %d compared at least %.1f x PyTorch's best; PyTorch: %d of %d rows%s"
          % (len(rows) - len(missing), len(rows), ", not %s" % ", ".join(missing) if missing else "", near, FLOOR_GOAL, fast,
             compared, TORCH_GOAL, len(torch), wanted, " (%s)" % why if why else ""))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
