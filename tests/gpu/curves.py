#!/usr/bin/env python3
"""200 steps of every variant on a GPU against the CPU's curve: JSON lines, one a variant.

    tests/gpu/curves.py --gandist BIN --out FOLDER [--device cuda] [--steps 200] [--only NAME ...] [--jobs 4] [--seconds 120]

Small networks in f32, strict. Each variant is trained three times: on the CPU with two seeds, on the device with the first.
  first steps  losses of the first step: |device - CPU| at most 1e-5 max(1, |CPU|), of the next 4: 5e-3. Between them is Adam's first
               update, as large as the rate wherever a gradient is not 0: the sign of one that is nearly 0 is rounding
  whole curve  rounding makes of one curve another after some steps, as a seed does. Of means over windows of a tenth of the run, over
               both losses: root mean square of device - CPU at most 1.5 times that of seed - seed, or 2 % of the curve's size
Exit 1: a curve is too far, or a run failed; 77: no GPU (the device's own words).
"""
import argparse
import concurrent.futures
import json
import math
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
IMAGES = ["data.source=synthetic", "data.image.size=32", "data.image.channels=3"]
PAIRS = ["data.source=synthetic-pairs", "data.image.size=32", "data.image.channels=3"]
NARROW = ["generator.width=16", "discriminator.width=16", "batch.global=8"]
WORKS = {
    "gan-2d": ("recipes/gan-2d.yaml", []),
    "dcgan": ("recipes/dcgan-64.yaml", IMAGES + NARROW),
    "wgan-gp": ("recipes/wgan-gp.yaml", IMAGES + NARROW + ["schedule.d_steps=2"]),
    "wgan-gp-resnet": ("recipes/wgan-gp-resnet.yaml", IMAGES + NARROW + ["schedule.d_steps=2"]),
    "pix2pix": ("recipes/pix2pix.yaml", PAIRS + NARROW),
    "cyclegan": ("recipes/cyclegan.yaml", PAIRS + NARROW + ["generator.depth=3"]),
    "discogan": ("recipes/discogan.yaml", ["data.source=synthetic-pairs"] + NARROW),
}
QUIET = ["numerics.precision=fp32", "log.every=1", "log.samples.every=0", "checkpoint.every=0"]
NEAR, WINDOWS, SEEDS_RATIO, SMALL = [1e-5, 5e-3, 5e-3, 5e-3, 5e-3], 10, 1.5, 0.02


class Failed(Exception):
    """A run that did not end well: its last words, and its exit code."""


def train(a, name, device, seed, sets=()):
    recipe, own = WORKS[name]
    out = os.path.join(a.out, "%s-%s-%d" % (name, device if not sets else "other", seed))
    command = [a.gandist, "train", os.path.join(ROOT, recipe), "--device", device, "--steps", str(a.steps), "--fresh", "--quiet",
               "--out", out]
    for s in [*own, *QUIET, "train.steps=%d" % a.steps, "seed=%d" % seed, *sets]:
        command += ["--set", s]
    env = dict(os.environ, OMP_NUM_THREADS="1")
    try:
        run = subprocess.run(command, capture_output=True, text=True, env=env, timeout=max(1, a.end - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise Failed("%s on %s: time was over" % (name, device), 1)
    if run.returncode:
        raise Failed("%s on %s: exit %d: %s" % (name, device, run.returncode, " ".join(run.stderr.split())[-300:]), run.returncode)
    with open(os.path.join(out, "metrics.jsonl")) as f:
        rows = [json.loads(line) for line in f]
    curves = {k: [float(r[k]) for r in rows] for k in ("loss_d", "loss_g") if rows and k in rows[0]}
    if len(curves) != 2 or any(len(c) != a.steps for c in curves.values()):
        raise Failed("%s on %s: no curve of %d steps in %s" % (name, device, a.steps, out), 1)
    return curves


def means(curve):
    n = len(curve) // WINDOWS
    return [sum(curve[i * n:(i + 1) * n]) / n for i in range(WINDOWS)]


def apart(x, y):
    """Root mean square of windows of both losses."""
    gaps = [p - q for k in x for p, q in zip(means(x[k]), means(y[k]))]
    return math.sqrt(sum(g * g for g in gaps) / len(gaps))


def size(x):
    values = [v for k in x for v in means(x[k])]
    return math.sqrt(sum(v * v for v in values) / len(values))


def judge(name, cpu, other_seed, device):
    first = [max(abs(device[k][i] - cpu[k][i]) / max(1, abs(cpu[k][i])) for k in cpu) for i in range(len(NEAR))]
    gap, seeds, scale = apart(device, cpu), apart(other_seed, cpu), size(cpu)
    finite = all(math.isfinite(v) for c in device.values() for v in c)
    good = finite and all(e <= limit for e, limit in zip(first, NEAR)) and gap <= max(SEEDS_RATIO * seeds, SMALL * scale)
    return {"stage": "train", "case": name, "first_steps": first, "first_limits": NEAR, "curve": gap, "seeds": seeds, "size": scale,
            "ok": good}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--gandist", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--device", default="cuda")
    p.add_argument("--device-set", action="append", default=[], help="a key that only the run on the device has")
    p.add_argument("--steps", type=int, default=200)
    p.add_argument("--only", nargs="+", choices=WORKS, default=list(WORKS))
    p.add_argument("--jobs", type=int, default=max(1, min(8, (os.cpu_count() or 2) - 1)), help="runs on the CPU at a time")
    p.add_argument("--seconds", type=float, default=120)
    a = p.parse_args()
    if a.steps < WINDOWS:
        sys.exit("curves: --steps %d; expected at least %d" % (a.steps, WINDOWS))
    a.end = time.monotonic() + a.seconds
    bad = no_gpu = 0
    last = ""
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool, concurrent.futures.ThreadPoolExecutor(1) as alone:
        runs = [(n, pool.submit(train, a, n, "cpu", 1), pool.submit(train, a, n, "cpu", 2),
                 alone.submit(train, a, n, a.device, 1, a.device_set)) for n in a.only]
        for name, *three in runs:
            try:
                row = judge(name, *(r.result() for r in three))
            except Failed as e:
                row = {"stage": "train", "case": name, "ok": False, "why": e.args[0]}
                no_gpu += e.args[1] == 69
                last = e.args[0]
            bad += not row["ok"]
            print(json.dumps(row), flush=True)
    if no_gpu == len(a.only):
        print("no variant could be started: %s" % last)
        return 77
    print("%d variants, %d steps each, %d too far or failed" % (len(a.only), a.steps, bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
