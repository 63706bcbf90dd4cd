#!/usr/bin/env python3
"""Writes the golden vectors beside this file: what PyTorch computes, in float64, for our networks.

    python3 tests/golden/make.py [FOLDER]        needs torch >= 1.13; takes a few seconds

The networks are our own transcription of the public definitions: DCGAN (pytorch/examples/dcgan, with
the depth following the image size as in WassersteinGAN's models/dcgan.py), its generator without batch
norm, WassersteinGAN's perceptrons, Goodfellow's maxout GAN, one network of every kind of layer, and those of
image_nets.py. Critics of WGAN-GP also carry the gradients of its penalty, which are second derivatives.

Nothing that goes in is stored: weights, inputs and cotangents are numbers of number(stream, i) below,
laid out as PyTorch lays tensors out. The C test (golden.c) draws the same ones.

File: "GDGOLDEN", u32 version, str script, u32 records; a record is
    str name, u32 stride, u64 elements of the tensor, u32 n, n x f64: elements 0, stride, 2 stride, ...
with str = u32 length + bytes, all little-endian.
"""
import os
import struct
import sys

import torch
from torch import nn

import image_nets

VERSION = 1
KEEP = 128  # values of a tensor that are stored, about
MASK = (1 << 64) - 1


# ---- numbers ----

def mix64(z):
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
    return z ^ z >> 31


def number(stream, i):
    """A multiple of 2^-15 in [-1, 1): exact in float32."""
    return (mix64(((stream << 32) + i + 0x9E3779B97F4A7C15) & MASK) >> 48) / 32768 - 1


def numbers(stream, shape, scale=1.0, offset=0.0):
    count = 1
    for d in shape:
        count *= d
    values = [offset + scale * number(stream, i) for i in range(count)]
    return torch.tensor(values, dtype=torch.float64).reshape(shape)


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def latents(seed, purpose, step, n, z):
    """Uniform in [-1, 1): the draws of base/rng.h, which latents come from."""
    golden = 0x9E3779B97F4A7C15
    key = mix64(mix64((seed + golden) & MASK) ^ (purpose * golden & MASK))
    rows = []
    for sample in range(n):
        row = []
        for block in range((z + 3) // 4):
            words = philox([block, sample, 0, step], [key & 0xFFFFFFFF, key >> 32])
            row += [(w >> 8) * 2.0**-24 * 2 - 1 for w in words]
        rows.append(row[:z])
    return torch.tensor(rows, dtype=torch.float64)


# ---- the file ----

class Golden:
    def __init__(self, keep=KEEP):
        self.records, self.keep = [], keep

    def add(self, name, tensor):
        flat = tensor.detach().reshape(-1).tolist()
        stride = 1 if len(flat) <= self.keep else (len(flat) // self.keep) | 1
        self.records.append((name, stride, len(flat), flat[::stride]))

    def write(self, path):
        text = lambda s: struct.pack("<I", len(s)) + s.encode()
        out = b"GDGOLDEN" + struct.pack("<I", VERSION) + text("tests/golden/make.py")
        out += struct.pack("<I", len(self.records))
        for name, stride, count, kept in self.records:
            out += text(name) + struct.pack("<IQI", stride, count, len(kept))
            out += struct.pack("<%dd" % len(kept), *kept)
        with open(path, "wb") as f:
            f.write(out)


# ---- networks ----

class Net(nn.Module):
    """Keys "main.0.weight" ..., images in and out as NCHW."""

    def __init__(self, layers, image=None):
        super().__init__()
        self.main = nn.Sequential(*layers)
        self.image = image

    def forward(self, x):
        y = self.main(x)
        return y.reshape((-1,) + self.image) if self.image else y.reshape(y.shape[0], -1)


class Maxout(nn.Module):
    def __init__(self, pieces):
        super().__init__()
        self.pieces = pieces

    def forward(self, x):
        return x.reshape(x.shape[0], -1, self.pieces).max(2)[0]




def dcgan_g(size, channels, z, width, norm=True):
    c = width * size // 8
    layers = [nn.Unflatten(1, (z, 1, 1))]  # without a number: see plain_name
    layers += [nn.ConvTranspose2d(z, c, 4, 1, 0, bias=False)]
    for _ in range((size // 8).bit_length() - 1):
        layers += ([nn.BatchNorm2d(c)] if norm else []) + [nn.ReLU(), nn.ConvTranspose2d(c, c // 2, 4, 2, 1, bias=False)]
        c //= 2
    layers += ([nn.BatchNorm2d(c)] if norm else []) + [nn.ReLU(), nn.ConvTranspose2d(c, channels, 4, 2, 1, bias=False)]
    return Net(layers + [nn.Tanh()], (channels, size, size))


def dcgan_d(size, channels, width):
    c, layers = width, [nn.Conv2d(channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for _ in range((size // 8).bit_length() - 1):
        layers += [nn.Conv2d(c, 2 * c, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * c), nn.LeakyReLU(0.2)]
        c *= 2
    return Net(layers + [nn.Conv2d(c, 1, 4, 1, 0, bias=False)])


def mlp(inputs, hidden, outputs, last, image=None, act=nn.ReLU):
    layers, c = [], inputs
    for h in hidden:
        layers += [nn.Linear(c, h), act()]
        c = h
    return Net([nn.Flatten()] + layers + [nn.Linear(c, outputs)] + last, image)


def maxout_d(inputs, units, pieces):
    return Net([nn.Flatten(), nn.Linear(inputs, units * pieces), Maxout(pieces), nn.Linear(units, units * pieces),
                Maxout(pieces), nn.Linear(units, 1)])


def every_layer(z):
    return Net([nn.Linear(z, 96, bias=False), nn.BatchNorm1d(96), nn.ReLU(), nn.Unflatten(1, (6, 4, 4)),
                nn.Upsample(scale_factor=2), nn.Conv2d(6, 5, 3, 1, 1, bias=False), nn.InstanceNorm2d(5), nn.LeakyReLU(0.2),
                nn.ConvTranspose2d(5, 4, 4, 2, 1, bias=False), nn.GroupNorm(1, 4), nn.ReLU(), nn.AvgPool2d(2),
                nn.Conv2d(4, 3, 5, 1, 2), nn.Tanh()], (3, 8, 8))


def state(net):
    """Parameters and buffers as (name, tensor), in state_dict order, but weight_orig of spectral norm before the bias."""
    items = [(k, v) for k, v in net.state_dict(keep_vars=True).items() if not k.endswith("num_batches_tracked")]
    for i, (k, v) in enumerate(items):
        if k.endswith("weight_orig") and i and items[i - 1][0] == k.replace("weight_orig", "bias"):
            items[i - 1:i + 1] = [(k, v), items[i - 1]]
    return items


def fill(net, stream, amplitude=0.25):
    with torch.no_grad():
        for i, (name, t) in enumerate(state(net)):
            scale = name.endswith("running_var") or (name.endswith("weight") and t.dim() == 1)
            t.copy_(numbers(stream + i, t.shape, 0.25 if scale else amplitude, 1.0 if scale else 0.0))
    return net


def plain_name(net, name):
    """main.<k>: a reshape or flatten that our networks do without a number does not count."""
    if not isinstance(net, Net):
        return name
    silent = isinstance(net.main[0], (nn.Flatten, nn.Unflatten))
    part = name.split(".")
    return ".".join([part[0], str(int(part[1]) - silent)] + part[2:])


def run_net(out, prefix, net, stream, shape):
    """One evaluation pass, then one training pass with the gradients of sum(y * cotangent)."""
    net = fill(net.double(), stream)
    x = numbers(stream + 900, shape).requires_grad_()
    out.add(prefix + "/eval", net.eval()(x))
    y = net.train()(x)
    (y * numbers(stream + 901, y.shape)).sum().backward()
    out.add(prefix + "/y", y)
    out.add(prefix + "/dx", x.grad)
    add_state(out, prefix, net)


def add_state(out, prefix, net):
    """Gradients of parameters, values of buffers."""
    for name, t in state(net):
        buffer = not isinstance(t, nn.Parameter)
        out.add("%s/%s%s" % (prefix, "" if buffer else "grad:", plain_name(net, name)), t if buffer else t.grad)


def run_features(out, prefix, net, stream, shape):
    """Training pass of a discriminator with feature maps: gradients of sum(y * cotangent) + the same of each map."""
    net = fill(net.double(), stream)
    x = numbers(stream + 900, shape).requires_grad_()
    out.add(prefix + "/eval", net.eval()(x)[0])
    y, features = net.train()(x)
    loss = (y * numbers(stream + 901, y.shape)).sum()
    for i, f in enumerate(features):
        out.add("%s/feature%d" % (prefix, i), f)
        loss = loss + (f * numbers(stream + 902 + i, f.shape)).sum()
    loss.backward()
    out.add(prefix + "/y", y)
    out.add(prefix + "/dx", x.grad)
    add_state(out, prefix, net)


def run_penalty(out, prefix, net, stream, shape):
    """Gradients of mean (|dD/dx| - 1)^2: Gulrajani 2017's penalty at the points x."""
    x = numbers(stream + 900, shape).requires_grad_()
    net.zero_grad()
    slope = torch.autograd.grad(net(x).sum(), x, create_graph=True)[0]
    norm = slope.flatten(1).norm(dim=1)
    ((norm - 1) ** 2).mean().backward()
    out.add(prefix + "/slope_norm", norm)
    for name, t in state(net):
        out.add("%s/penalty:%s" % (prefix, name), torch.zeros_like(t) if t.grad is None else t.grad)


def run_spectral(out, prefix, net, stream, shape):
    """Every weight behind torch.nn.utils.spectral_norm: three training passes move the vectors, the last one counts."""
    for m in net.modules():
        if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.utils.spectral_norm(m)
    net = fill(net.double(), stream)
    x = numbers(stream + 900, shape).requires_grad_()
    net.train()
    net(x)
    net(x)
    y = net(x)
    (y * numbers(stream + 901, y.shape)).sum().backward()
    out.add(prefix + "/y", y)
    out.add(prefix + "/dx", x.grad)
    add_state(out, prefix, net)
    out.add(prefix + "/eval", net.eval()(x))


def image_networks(folder):
    few = 40
    path = lambda name: os.path.join(folder, name)
    out = Golden(few)
    run_net(out, "B", image_nets.Unet(3, 2, 6, 2, "batch"), 100000, (2, 3, 64, 64))
    run_net(out, "I", image_nets.Unet(1, 3, 5, 2, "instance"), 101000, (2, 1, 32, 64))
    run_net(out, "N", image_nets.Unet(3, 3, 3, 3, "none"), 102000, (2, 3, 16, 8))
    out.write(path("unet.bin"))
    out = Golden(few)
    run_net(out, "3", image_nets.patchgan(4, 3, 3, "batch"), 110000, (3, 4, 32, 40))
    run_net(out, "1", image_nets.patchgan(3, 4, 1, "instance"), 111000, (2, 3, 16, 16))
    run_net(out, "5", image_nets.patchgan(3, 1, 5, "none"), 112000, (2, 3, 96, 96))
    run_net(out, "X", image_nets.pixel(4, 5, "batch"), 113000, (2, 4, 6, 5))
    run_net(out, "Y", image_nets.pixel(3, 5, "instance"), 114000, (2, 3, 4, 4))
    out.write(path("patchgan.bin"))
    out = Golden(few)
    run_net(out, "I", image_nets.cycle_resnet(3, 2, 3, 2, "instance"), 120000, (2, 3, 16, 20))
    run_net(out, "B", image_nets.cycle_resnet(1, 3, 3, 1, "batch"), 121000, (3, 1, 12, 8))
    out.write(path("resnet.bin"))
    out = Golden(few)
    run_net(out, "G32", image_nets.GpGenerator(6, 32, 3, 4), 130000, (3, 6))
    run_net(out, "G64", image_nets.GpGenerator(5, 64, 1, 2), 131000, (2, 5))
    out.write(path("resnet_gp_g.bin"))
    out = Golden(few)
    for i, (prefix, net, n, image, size) in enumerate((
            ("D32", image_nets.GpCritic32(3, 4, "none"), 3, 3, 32), ("D64", image_nets.GpCritic64(1, 2, "layer"), 2, 1, 64),
            ("L32", image_nets.GpCritic32(1, 3, "layer"), 2, 1, 32))):
        run_net(out, prefix, net, 140000 + 1000 * i, (n, image, size, size))
        run_penalty(out, prefix, net, 140000 + 1000 * i, (n, image, size, size))
    out.write(path("resnet_gp_d.bin"))
    out = Golden(few)
    run_net(out, "G64", image_nets.disco_g(3, 2, 2, 4), 150000, (2, 3, 64, 64))
    run_net(out, "G32", image_nets.disco_g(1, 3, 3, 3), 151000, (2, 1, 32, 64))
    run_features(out, "D64", image_nets.DiscoD(3, 2, 4), 152000, (2, 3, 64, 64))
    run_features(out, "D32", image_nets.DiscoD(1, 3, 3), 153000, (3, 1, 32, 32))
    out.write(path("disco.bin"))
    out = Golden(few)
    for i, (n, size, image, norm) in enumerate(((2, 28, 1, False), (3, 32, 3, True), (2, 64, 1, True))):
        run_net(out, "G%d" % size, image_nets.K5Generator(5, size, image, 2, norm), 170000 + 1000 * i, (n, 5))
    for i, (size, image, norm) in enumerate(((28, 1, None), (32, 3, None), (64, 1, "layer"))):
        net = image_nets.K5Critic(size, image, 2, norm)
        run_net(out, "D%d" % size, net, 173000 + 1000 * i, (2, image, size, size))
        run_penalty(out, "D%d" % size, net, 173000 + 1000 * i, (2, image, size, size))
    out.write(path("dcgan_k5.bin"))
    out = Golden(few)
    run_spectral(out, "D", dcgan_d(32, 3, 4), 160000, (3, 3, 32, 32))
    run_spectral(out, "G", dcgan_g(32, 3, 5, 2), 161000, (3, 5))
    run_spectral(out, "M", mlp(48, [9, 9], 1, [], act=nn.ReLU), 162000, (4, 3, 4, 4))
    out.write(path("spectral.bin"))


def networks(folder):
    for stream, name, size, channels, z, width, n in ((10000, "dcgan32", 32, 3, 6, 4, 4), (20000, "dcgan64", 64, 1, 5, 4, 3),
                                                      (30000, "dcgan128", 128, 3, 4, 2, 2)):
        out = Golden()
        run_net(out, "G", dcgan_g(size, channels, z, width), stream, (n, z))
        run_net(out, "D", dcgan_d(size, channels, width), stream + 1000, (n, channels, size, size))
        out.write(os.path.join(folder, name + ".bin"))
    out = Golden()  # 2 channels, 4 x 6 pixels
    run_net(out, "G", mlp(7, [20, 20], 48, [nn.Sigmoid()], (2, 4, 6)), 40000, (5, 7))
    run_net(out, "D", maxout_d(48, 6, 5), 41000, (5, 2, 4, 6))
    out.write(os.path.join(folder, "maxout.bin"))
    out = Golden()
    run_net(out, "G", mlp(7, [12] * 3, 108, [], (3, 6, 6)), 50000, (4, 7))
    run_net(out, "D", mlp(108, [12] * 3, 1, []), 51000, (4, 3, 6, 6))
    run_net(out, "N", dcgan_g(32, 3, 5, 2, norm=False), 52000, (3, 5))
    run_net(out, "L", every_layer(7), 53000, (4, 7))
    out.write(os.path.join(folder, "wgan.bin"))


# ---- training ----

def pixels(stream, shape):
    return torch.floor((numbers(stream, shape) + 1) * 128)


SEED, LATENT_D, LATENT_G = 11, 3, 4
softplus = nn.functional.softplus


class Log:
    def __init__(self):
        self.values = {}

    def put(self, **kw):
        for name, value in kw.items():
            self.values.setdefault(name, []).append(float(value))

    def write(self, nets, path):
        out = Golden()
        for name, v in self.values.items():
            out.add(name, torch.tensor(v, dtype=torch.float64))
        for prefix, net in nets:
            for name, t in state(net):
                out.add("%s/%s" % (prefix, plain_name(net, name)), t)
        out.write(path)


def train_dcgan(path, steps=10, n=6, z=5):
    """pytorch/examples: D on real, then on generated images; G through the updated D, the same images."""
    g, d = fill(dcgan_g(16, 1, z, 4).double(), 60000), fill(dcgan_d(16, 1, 4).double(), 61000)
    adam = [torch.optim.Adam(net.parameters(), lr=2e-3, betas=(0.5, 0.999)) for net in (g, d)]
    log = Log()
    for i in range(steps):
        real = pixels(62000 + i, (n, 1, 16, 16)) / 127.5 - 1
        fake = g(latents(SEED, LATENT_D, i, n, z))
        d.zero_grad()
        on_real, on_fake = d(real), d(fake.detach())
        loss_real, loss_fake = softplus(-on_real).mean(), softplus(on_fake).mean()
        (loss_real + loss_fake).backward()
        adam[1].step()
        g.zero_grad()
        again = d(fake)
        loss_g = softplus(-again).mean()
        loss_g.backward()
        adam[0].step()
        log.put(loss_d=loss_real + loss_fake, loss_d_real=loss_real, loss_d_fake=loss_fake, loss_g=loss_g,
                d_real=torch.sigmoid(on_real).mean(), d_fake=torch.sigmoid(on_fake).mean(),
                d_fake_g=torch.sigmoid(again).mean())
    log.write((("G", g), ("D", d)), path)


def train_simultaneous(path, steps=10, n=6, z=5):
    """Goodfellow 2014's code: both gradients at the old parameters, momentum, D's loss halved."""
    g = fill(mlp(z, [10, 10], 16, [nn.Sigmoid()], (1, 4, 4)).double(), 70000)
    d = fill(maxout_d(16, 4, 5).double(), 71000)
    sgd = [torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.5) for net in (g, d)]
    log = Log()
    for i in range(steps):
        on_real = d(pixels(72000 + i, (n, 1, 4, 4)) / 255)
        on_fake = d(g(latents(SEED, LATENT_D, i, n, z)))
        loss_d = 0.5 * (softplus(-on_real).mean() + softplus(on_fake).mean())
        loss_g = softplus(-on_fake).mean()
        grads = [torch.autograd.grad(loss, list(net.parameters()), retain_graph=True)
                 for loss, net in ((loss_g, g), (loss_d, d))]
        for net, grad, step in zip((g, d), grads, sgd):
            for p, dp in zip(net.parameters(), grad):
                p.grad = dp
            step.step()
        log.put(loss_d=loss_d, loss_g=loss_g, d_real=torch.sigmoid(on_real).mean(), d_fake=torch.sigmoid(on_fake).mean())
    log.write((("G", g), ("D", d)), path)


def train_wgan(path, steps=10, n=6, z=5):
    """Arjovsky 2017, algorithm 1: two critic updates, each clipped afterwards, for one of the generator."""
    g = fill(mlp(z, [12] * 3, 36, [], (1, 6, 6)).double(), 80000)
    d = fill(mlp(36, [12] * 3, 1, []).double(), 81000)
    rms = [torch.optim.RMSprop(net.parameters(), lr=1e-3) for net in (g, d)]
    log, draws = Log(), 0
    for i in range(steps):
        for _ in range(2):
            d.zero_grad()
            on_real = d(pixels(82000 + draws, (n, 1, 6, 6)) / 127.5 - 1)
            on_fake = d(g(latents(SEED, LATENT_D, draws, n, z)).detach())
            draws += 1
            loss_d = on_fake.mean() - on_real.mean()
            loss_d.backward()
            rms[1].step()
            with torch.no_grad():
                for p in d.parameters():
                    p.clamp_(-0.2, 0.2)
            log.put(loss_d=loss_d, d_real=on_real.mean(), d_fake=on_fake.mean())
        g.zero_grad()
        loss_g = -d(g(latents(SEED, LATENT_G, draws, n, z))).mean()
        draws += 1
        loss_g.backward()
        rms[0].step()
        log.put(loss_g=loss_g)
    log.write((("G", g), ("D", d)), path)


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    torch.set_num_threads(1)
    networks(folder)
    image_networks(folder)
    train_dcgan(os.path.join(folder, "train_dcgan.bin"))
    train_simultaneous(os.path.join(folder, "train_simultaneous.bin"))
    train_wgan(os.path.join(folder, "train_wgan.bin"))


if __name__ == "__main__":
    main()
