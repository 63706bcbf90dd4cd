"""The public DCGAN example's training step in PyTorch, as published or tuned, timed on synthetic input.

Prints one line "seconds d_step g_step iteration" per timed iteration after a warm-up; reads "go" lines
from standard input, one per iteration, so that another program's iterations can be interleaved.
Networks, losses, order of steps: the public example (Radford et al. 2015; batch 64, 64 px RGB).
"""
import argparse
import sys
import time

import torch
import torch.nn as nn


def generator(z=100, w=64, c=3):
    def up(i, o, s, p):
        return [nn.ConvTranspose2d(i, o, 4, s, p, bias=False), nn.BatchNorm2d(o), nn.ReLU(True)]

    return nn.Sequential(*up(z, w * 8, 1, 0), *up(w * 8, w * 4, 2, 1), *up(w * 4, w * 2, 2, 1), *up(w * 2, w, 2, 1),
                         nn.ConvTranspose2d(w, c, 4, 2, 1, bias=False), nn.Tanh())


def discriminator(w=64, c=3):
    def down(i, o):
        return [nn.Conv2d(i, o, 4, 2, 1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.2, inplace=True)]

    return nn.Sequential(nn.Conv2d(c, w, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True), *down(w, w * 2),
                         *down(w * 2, w * 4), *down(w * 4, w * 8), nn.Conv2d(w * 8, 1, 4, 1, 0, bias=False), nn.Sigmoid())


def init(m):
    name = m.__class__.__name__
    if "Conv" in name:
        nn.init.normal_(m.weight, 0.0, 0.02)
    elif "BatchNorm" in name:
        nn.init.normal_(m.weight, 1.0, 0.02)
        nn.init.zeros_(m.bias)


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--batch", type=int, default=64)
    a.add_argument("--tuned", action="store_true")
    a.add_argument("--bf16", action="store_true")
    a = a.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    g, d = generator(), discriminator()
    g.apply(init)
    d.apply(init)
    layout = torch.channels_last if a.tuned else torch.contiguous_format
    g, d = g.to(memory_format=layout), d.to(memory_format=layout)
    extra = {"foreach": True} if a.tuned else {}
    opt_d = torch.optim.Adam(d.parameters(), lr=2e-4, betas=(0.5, 0.999), **extra)
    opt_g = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(0.5, 0.999), **extra)
    bce = nn.BCELoss()
    real = torch.rand(a.batch, 3, 64, 64).mul_(2).sub_(1).contiguous(memory_format=layout)
    ones, zeros = torch.ones(a.batch), torch.zeros(a.batch)

    def forward(net, x):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=a.bf16):
            y = net(x)
        return y.float()

    def step():
        t0 = time.perf_counter()
        opt_d.zero_grad(set_to_none=True) if a.tuned else d.zero_grad()
        bce(forward(d, real).view(-1), ones).backward()
        fake = forward(g, torch.randn(a.batch, 100, 1, 1))
        bce(forward(d, fake.detach()).view(-1), zeros).backward()
        opt_d.step()
        t1 = time.perf_counter()
        if a.tuned:
            for p in d.parameters():
                p.requires_grad_(False)
        opt_g.zero_grad(set_to_none=True) if a.tuned else g.zero_grad()
        bce(forward(d, fake).view(-1), ones).backward()
        opt_g.step()
        if a.tuned:
            for p in d.parameters():
                p.requires_grad_(True)
        t2 = time.perf_counter()
        return t1 - t0, t2 - t1, t2 - t0

    for _ in range(2):
        step()
    print("ready", torch.__version__, flush=True)
    for _ in sys.stdin:
        print("seconds %.6f %.6f %.6f" % step(), flush=True)


if __name__ == "__main__":
    main()
