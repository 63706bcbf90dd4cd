"""FID's Inception-v3 in plain PyTorch: the names and shapes of its convolutions, and the features of three images.
Run: python3 tests/golden/inception.py (torch 1.13). Writes tests/golden/inception.txt (name, K, C, R, S a line) and
tests/golden/inception.bin (3 x 2048 float32), and with an argument also the weights, as safetensors, to that file.

The network is pytorch-fid's fid_inception_v3, written out: torchvision's blocks with the average pools of A, C and E not
counting the padding, and a max pool in the last block; batch norm with eps 0.001. Weights are numbers of a hash, scaled
so that activations keep their size, since the true ones are 90 MB; tests/golden/golden_inception.c makes the same."""
import json
import os
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))


class Unit(nn.Module):
    def __init__(self, c, k, size, stride=1, pad=0):
        super().__init__()
        self.conv = nn.Conv2d(c, k, size, stride, pad, bias=False)
        self.bn = nn.BatchNorm2d(k, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


def average(x):
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class A(nn.Module):
    def __init__(self, c, pool):
        super().__init__()
        self.branch1x1 = Unit(c, 64, 1)
        self.branch5x5_1 = Unit(c, 48, 1)
        self.branch5x5_2 = Unit(48, 64, 5, 1, 2)
        self.branch3x3dbl_1 = Unit(c, 64, 1)
        self.branch3x3dbl_2 = Unit(64, 96, 3, 1, 1)
        self.branch3x3dbl_3 = Unit(96, 96, 3, 1, 1)
        self.branch_pool = Unit(c, pool, 1)

    def forward(self, x):
        b = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), b, self.branch_pool(average(x))], 1)


class B(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.branch3x3 = Unit(c, 384, 3, 2)
        self.branch3x3dbl_1 = Unit(c, 64, 1)
        self.branch3x3dbl_2 = Unit(64, 96, 3, 1, 1)
        self.branch3x3dbl_3 = Unit(96, 96, 3, 2)

    def forward(self, x):
        b = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), b, F.max_pool2d(x, 3, 2)], 1)


class C(nn.Module):
    def __init__(self, c, m):
        super().__init__()
        wide, tall = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
        self.branch1x1 = Unit(c, 192, 1)
        self.branch7x7_1 = Unit(c, m, 1)
        self.branch7x7_2 = Unit(m, m, *wide)
        self.branch7x7_3 = Unit(m, 192, *tall)
        self.branch7x7dbl_1 = Unit(c, m, 1)
        self.branch7x7dbl_2 = Unit(m, m, *tall)
        self.branch7x7dbl_3 = Unit(m, m, *wide)
        self.branch7x7dbl_4 = Unit(m, m, *tall)
        self.branch7x7dbl_5 = Unit(m, 192, *wide)
        self.branch_pool = Unit(c, 192, 1)

    def forward(self, x):
        a = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        b = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        b = self.branch7x7dbl_5(self.branch7x7dbl_4(b))
        return torch.cat([self.branch1x1(x), a, b, self.branch_pool(average(x))], 1)


class D(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.branch3x3_1 = Unit(c, 192, 1)
        self.branch3x3_2 = Unit(192, 320, 3, 2)
        self.branch7x7x3_1 = Unit(c, 192, 1)
        self.branch7x7x3_2 = Unit(192, 192, (1, 7), 1, (0, 3))
        self.branch7x7x3_3 = Unit(192, 192, (7, 1), 1, (3, 0))
        self.branch7x7x3_4 = Unit(192, 192, 3, 2)

    def forward(self, x):
        b = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), b, F.max_pool2d(x, 3, 2)], 1)


class E(nn.Module):
    def __init__(self, c, pool):
        super().__init__()
        wide, tall = ((1, 3), 1, (0, 1)), ((3, 1), 1, (1, 0))
        self.pool = pool
        self.branch1x1 = Unit(c, 320, 1)
        self.branch3x3_1 = Unit(c, 384, 1)
        self.branch3x3_2a = Unit(384, 384, *wide)
        self.branch3x3_2b = Unit(384, 384, *tall)
        self.branch3x3dbl_1 = Unit(c, 448, 1)
        self.branch3x3dbl_2 = Unit(448, 384, 3, 1, 1)
        self.branch3x3dbl_3a = Unit(384, 384, *wide)
        self.branch3x3dbl_3b = Unit(384, 384, *tall)
        self.branch_pool = Unit(c, 192, 1)

    def forward(self, x):
        a, b = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return torch.cat([self.branch1x1(x), self.branch3x3_2a(a), self.branch3x3_2b(a), self.branch3x3dbl_3a(b),
                          self.branch3x3dbl_3b(b), self.branch_pool(self.pool(x))], 1)


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = Unit(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Unit(32, 32, 3)
        self.Conv2d_2b_3x3 = Unit(32, 64, 3, 1, 1)
        self.Conv2d_3b_1x1 = Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = A(192, 32), A(256, 64), A(288, 64)
        self.Mixed_6a = B(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = C(768, 128), C(768, 160), C(768, 160), C(768, 192)
        self.Mixed_7a = D(768)
        self.Mixed_7b, self.Mixed_7c = E(1280, average), E(2048, lambda x: F.max_pool2d(x, 3, 1, 1))

    def forward(self, x):
        x = F.interpolate(x, size=(299, 299), mode="bilinear", align_corners=False)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(2 * x - 1)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for block in (self.Mixed_5b, self.Mixed_5c, self.Mixed_5d, self.Mixed_6a, self.Mixed_6b, self.Mixed_6c,
                      self.Mixed_6d, self.Mixed_6e, self.Mixed_7a, self.Mixed_7b, self.Mixed_7c):
            x = block(x)
        return F.adaptive_avg_pool2d(x, 1)[:, :, 0, 0]


def hashed(stream, n):
    """n numbers from 0 to 2^32 - 1."""
    h = np.arange(n, dtype=np.uint32) * np.uint32(0x9E3779B1) ^ np.uint32(stream * 0x85EBCA77 & 0xFFFFFFFF)
    h = (h ^ h >> np.uint32(15)) * np.uint32(0x2C1B3C6D)
    h = (h ^ h >> np.uint32(12)) * np.uint32(0x297A2D39)
    return h ^ h >> np.uint32(15)


def numbers(stream, shape, centre, spread):
    """Float32 numbers from centre - spread to centre + spread."""
    u = hashed(stream, int(np.prod(shape))).astype(np.float64) / 2.0 ** 31 - 1
    return (centre + spread * u).astype(np.float32).reshape(shape)


def weights(net):
    """Every tensor of the state_dict in the order of its names in inception.txt; stream: its place in that order."""
    out, stream = {}, 0
    for name, unit in net.named_modules():
        if not isinstance(unit, Unit):
            continue
        k, c, r, s = unit.conv.weight.shape
        for key, shape, centre, spread in (("conv.weight", (k, c, r, s), 0, np.sqrt(6.0 / (c * r * s))),
                                           ("bn.weight", (k,), 1, 0.2), ("bn.bias", (k,), 0, 0.2),
                                           ("bn.running_mean", (k,), 0, 0.2), ("bn.running_var", (k,), 1, 0.3)):
            out[name + "." + key] = numbers(stream, shape, centre, spread)
            stream += 1
    return out


def picture(stream, h, w, c):
    """Smooth colours with grain."""
    y, x, k = np.mgrid[0:h, 0:w, 0:c]
    grain = (hashed(stream, h * w * c) >> np.uint32(26)).reshape(h, w, c).astype(np.int64)  # 0 to 63
    return ((x * 192 // w + y * 96 // h * (k + 1)) % 192 + grain).astype(np.uint8)


def save(path, tensors):
    head, at = {}, 0
    for key, t in tensors.items():
        head[key] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    text = json.dumps(head).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(t.tobytes() for t in tensors.values()))


net = Inception().eval()
made = weights(net)
if len(sys.argv) > 1:
    save(sys.argv[1], made)
missing, unexpected = net.load_state_dict({k: torch.from_numpy(v) for k, v in made.items()}, strict=False)
assert not unexpected and all(k.endswith("num_batches_tracked") for k in missing), (missing, unexpected)
with open(os.path.join(HERE, "inception.txt"), "w") as f:
    for name, unit in net.named_modules():
        if isinstance(unit, Unit):
            print(name, *unit.conv.weight.shape, file=f)
net.double()
features = []
for stream, size in ((1001, (40, 33, 3)), (1002, (310, 345, 3)), (1003, (28, 28, 1))):
    x = torch.from_numpy(picture(stream, *size)).permute(2, 0, 1)[None].double() / 255
    with torch.no_grad():
        features.append(net(x.expand(-1, 3, -1, -1))[0].numpy().astype(np.float32))
    print(size, features[-1].min(), features[-1].mean(), features[-1].max())
np.stack(features).tofile(os.path.join(HERE, "inception.bin"))
