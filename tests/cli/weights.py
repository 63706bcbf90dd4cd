"""safetensors files for the tests, without any library.  weights.py keys FILE | weights.py edit IN OUT HOW...
HOW: module (prefix), untracked (no num_batches_tracked), dots ('.' for ':'), half (F16), drop (no first weight),
extra (a tensor too many), stats (running statistics where there are none), wide (a wrong shape), nan"""
import json
import struct
import sys


def read(path):
    data = open(path, "rb").read()
    (n,) = struct.unpack("<Q", data[:8])
    head = json.loads(data[8:8 + n])
    head.pop("__metadata__", None)
    return {k: (v["dtype"], v["shape"], data[8 + n:][slice(*v["data_offsets"])]) for k, v in head.items()}


def write(path, tensors):
    head, body = {}, b""
    for k, (kind, shape, data) in tensors.items():
        head[k] = {"dtype": kind, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(head).encode()
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + body)


def half(data):
    return struct.pack("<%de" % (len(data) // 4), *struct.unpack("<%df" % (len(data) // 4), data))


def edit(tensors, how):
    first = next(k for k, v in tensors.items() if v[0] == "F32")
    if how == "module":
        return {"module." + k: v for k, v in tensors.items()}
    if how == "untracked":
        return {k: v for k, v in tensors.items() if not k.endswith("num_batches_tracked")}
    if how == "dots":
        return {k.replace(":", "."): v for k, v in tensors.items()}
    if how == "half":
        return {k: ("F16", s, half(d)) if t == "F32" else (t, s, d) for k, (t, s, d) in tensors.items()}
    if how == "drop":
        return {k: v for k, v in tensors.items() if k != first}
    if how == "extra":
        return {**tensors, "main.99.weight": ("F32", [1], bytes(4))}
    if how == "stats":
        return {**tensors, "main.99.running_mean": ("F32", [1], bytes(4))}
    if how == "wide":
        kind, shape, data = tensors[first]
        return {**tensors, first: (kind, [shape[0] * 2] + shape[1:], data * 2)}
    if how == "nan":
        kind, shape, data = tensors[first]
        return {**tensors, first: (kind, shape, struct.pack("<f", float("nan")) + data[4:])}
    sys.exit(__doc__)


if sys.argv[1] == "keys":
    for key, (kind, shape, _) in read(sys.argv[2]).items():
        print(key, kind, *shape)
elif sys.argv[1] == "edit":
    tensors = read(sys.argv[2])
    for how in sys.argv[4:]:
        tensors = edit(tensors, how)
    write(sys.argv[3], tensors)
elif sys.argv[1] == "same":
    sys.exit(read(sys.argv[2]) != read(sys.argv[3]))
else:
    sys.exit(__doc__)
