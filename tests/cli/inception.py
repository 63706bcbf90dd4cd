"""Weights of FID's Inception network as nobody trained them, without any library: random numbers of the right size under
the right names.  inception.py LIST FILE [HOW]: LIST is tests/golden/inception.txt.
HOW: torchvision (a classifier of 1000 classes), fc (one of 1008), short (without the last unit)"""
import array
import json
import random
import struct
import sys

units = [line.split() for line in open(sys.argv[1])]
how = sys.argv[3] if len(sys.argv) > 3 else ""
if how == "short":
    units.pop()
random.seed(1)
base = [random.uniform(-1, 1) for _ in range(20011)]
blocks = {}


def numbers(n, centre, spread):
    """n float32 numbers: the base over and over, from another place each time."""
    if (centre, spread) not in blocks:
        blocks[centre, spread] = array.array("f", [centre + spread * x for x in base]).tobytes()
    block, start = blocks[centre, spread], 4 * random.randrange(len(base))
    return ((block[start:] + block[:start]) * (n // len(base) + 1))[:4 * n]


head, body = {}, []


def add(name, shape, data):
    at = sum(map(len, body))
    head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(data)]}
    body.append(data)


for name, *shape in units:
    k, c, r, s = map(int, shape)
    add(name + ".conv.weight", [k, c, r, s], numbers(k * c * r * s, 0, (6 / (c * r * s)) ** 0.5))
    for key, centre, spread in (("weight", 1, .2), ("bias", 0, .2), ("running_mean", 0, .2), ("running_var", 1, .3)):
        add(name + ".bn." + key, [k], numbers(k, centre, spread))
if how in ("torchvision", "fc"):
    classes = 1000 if how == "torchvision" else 1008
    add("fc.weight", [classes, 2048], bytes(4 * classes * 2048))
text = json.dumps(head).encode()
with open(sys.argv[2], "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text + b"".join(body))
