"""Iterations of tests/bench/torch_step.py on one device, many cases in one process: a JSON line each, as soon as it is known.

    torch_rows.py --device cuda --steps 20 NAME=WORK:BATCH:SIZE:bf16|f32:WORDS ...

Time of an iteration: median of 5 blocks of --steps iterations, each block timed from an idle device to an idle device, after
a warm-up of 5. A case that fails says why in its line. Ends with 77 where there is no PyTorch, or none for the device.
"""
import argparse
import gc
import json
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench"))
sys.dont_write_bytecode = True
BLOCKS, WARM = 5, 5


def measure(torch, torch_step, a, text):
    work, batch, size, precision, words = text.split(":")
    unknown = set(filter(None, words.split(","))) - torch_step.WORDS
    if unknown:
        raise ValueError("not known: " + ",".join(unknown))
    options = argparse.Namespace(work=work, batch=int(batch), size=int(size), bf16=precision == "bf16", words=words, device=a.device)
    sync = torch.cuda.synchronize if a.device == "cuda" else lambda: None
    w = torch_step.make(options)
    w.now = time.perf_counter  # its steps do not wait for the device; blocks of them do
    for _ in range(WARM):
        w.step()
    blocks = []
    for _ in range(BLOCKS):
        sync()
        begin = time.perf_counter()
        for _ in range(a.steps):
            w.step()
        sync()
        blocks.append((time.perf_counter() - begin) / a.steps)
    return statistics.median(blocks)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("cases", nargs="+", metavar="NAME=CASE")
    a = p.parse_args()
    try:
        import torch
        import torch_step
    except ImportError as e:
        print("torch_rows: no PyTorch: %s" % e)
        return 77
    if a.device == "cuda" and not torch.cuda.is_available():
        print("torch_rows: PyTorch %s sees no GPU" % torch.__version__)
        return 77
    on = torch.cuda.get_device_name() if a.device == "cuda" else "cpu"
    for case in a.cases:
        name, _, text = case.partition("=")
        row = {"stage": "bench", "row": name, "torch": torch.__version__, "device": on}
        try:
            row.update(ok=True, iteration=measure(torch, torch_step, a, text))
        except Exception as e:  # whatever it is, it belongs to this case only
            row.update(ok=False, why="%s: %s" % (type(e).__name__, str(e).splitlines()[0][:200] if str(e) else ""))
        print(json.dumps(row), flush=True)
        gc.collect()
        if a.device == "cuda":
            torch.cuda.empty_cache()
    return 0


if __name__ == "__main__":
    sys.exit(main())
