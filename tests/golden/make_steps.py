#!/usr/bin/env python3
"""Writes steps_*.bin beside this file: what one training step of each variant computes in PyTorch, in float64.

    python3 tests/golden/make_steps.py [FOLDER]        needs torch >= 1.13; takes a few seconds

A step is written as the public code of its variant writes it; the C test (golden_steps.c) runs our step
graph on the same numbers. Records are named as the outputs of the graph: gradients of the group that the
step trains, running statistics after it, and metrics. Numbers, networks and file: make.py.

In steps with two phases the first group is updated in between: p -= RATE * gradient.
"""
import os
import sys

import torch
from torch import nn

import image_nets
from make import Golden, Net, fill, latents, mlp, number, numbers, pixels, plain_name, state

SEED, STEP, RATE = 11, 4, 0.1
LATENT_D, LATENT_G, PENALTY = 3, 4, 5
relu, softplus = torch.relu, nn.functional.softplus


class Step:
    """Networks by prefix, filled from `stream` on; data of the parts from stream + 8000 on."""

    def __init__(self, stream, **nets):
        self.stream, self.nets, self.metrics = stream, nets, {}
        for i, net in enumerate(nets.values()):
            fill(net.double(), stream + 1000 * i).train()
        self.__dict__.update(nets)
        self.trained = []

    def signed(self, part, shape):
        return pixels(self.stream + 8000 + part, shape) / 127.5 - 1

    def unit(self, part, shape):
        return pixels(self.stream + 8000 + part, shape) / 255

    def pooled(self, i, shape):
        return numbers(self.stream + 9000 + i, shape)

    def backward(self, loss, *prefixes):
        """Gradients of these networks and of no others."""
        for prefix in prefixes:
            params = list(self.nets[prefix].parameters())
            for p, g in zip(params, torch.autograd.grad(loss, params, retain_graph=True)):
                p.kept = g
            self.trained.append(prefix)

    def update(self, *prefixes):
        for prefix in prefixes:
            for p in self.nets[prefix].parameters():
                p.data -= RATE * p.kept

    def log(self, **metrics):
        self.metrics.update(metrics)

    def write(self, path):
        out = Golden(48)
        for name, value in self.metrics.items():
            out.add("metric:" + name, torch.as_tensor(value).reshape(1))
        for prefix, net in self.nets.items():
            for name, t in state(net):
                plain = "%s/%s" % (prefix, plain_name(net, name))
                if not isinstance(t, nn.Parameter):
                    out.add(plain, t)
                elif prefix in self.trained:
                    out.add("grad:" + plain, t.kept)
        out.write(path)


def cross_entropy(logits, label):
    return nn.functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def accuracy(on_real, on_fake, at=0.0):
    return ((on_real > at).double().mean() + (on_fake < at).double().mean()) / 2


# ---- pix2pix ----

def pix2pix(folder, n=3):
    """D on generated, then on real pairs; G through the updated D, with 100 times L1."""
    s = Step(200000, G=image_nets.Unet(2, 1, 4, 2, "batch"), D=image_nets.patchgan(3, 2, 1, "batch"))
    a, b = s.signed(0, (n, 2, 16, 16)), s.signed(1, (n, 1, 16, 16))
    fake = s.G(a)
    on_fake = s.D(torch.cat((a, fake.detach()), 1))
    on_real = s.D(torch.cat((a, b), 1))
    loss_fake, loss_real = 0.5 * cross_entropy(on_fake, 0.0), 0.5 * cross_entropy(on_real, 1.0)
    s.backward(loss_fake + loss_real, "D")
    s.log(loss_d=loss_fake + loss_real, loss_d_fake=loss_fake, loss_d_real=loss_real,
          d_real=torch.sigmoid(on_real).mean(), d_fake=torch.sigmoid(on_fake).mean(), d_accuracy=accuracy(on_real, on_fake))
    s.update("D")
    again = s.D(torch.cat((a, fake), 1))
    gan, l1 = cross_entropy(again, 1.0), (fake - b).abs().mean()
    s.backward(gan + 100 * l1, "G")
    s.log(loss_g=gan + 100 * l1, loss_g_gan=gan, l1=l1, d_fake_g=torch.sigmoid(again).mean())
    s.write(os.path.join(folder, "steps_pix2pix.bin"))


# ---- CycleGAN ----

def cyclegan(folder, name, stream, identity, pool, n=2):
    """G first, through the old discriminators; then both discriminators, on what the pools gave."""
    shape, mse = (n, 3, 16, 16), nn.functional.mse_loss
    s = Step(stream, G_AB=image_nets.cycle_resnet(3, 3, 2, 1, "instance"), G_BA=image_nets.cycle_resnet(3, 3, 2, 1, "instance"),
             D_A=image_nets.patchgan(3, 2, 1, "instance"), D_B=image_nets.patchgan(3, 2, 1, "instance"))
    a, b = s.signed(0, shape), s.signed(1, shape)
    fake_b, fake_a = s.G_AB(a), s.G_BA(b)
    on_a, on_b = s.D_A(fake_a), s.D_B(fake_b)
    gan_ba, gan_ab = mse(on_a, torch.ones_like(on_a)), mse(on_b, torch.ones_like(on_b))
    cycle_a, cycle_b = (s.G_BA(fake_b) - a).abs().mean(), (s.G_AB(fake_a) - b).abs().mean()
    loss = gan_ba + gan_ab + 10 * cycle_a + 10 * cycle_b
    if identity:
        same_b, same_a = (s.G_AB(b) - b).abs().mean(), (s.G_BA(a) - a).abs().mean()
        loss = loss + identity * (10 * same_b + 10 * same_a)
        s.log(identity=same_a + same_b)
    s.backward(loss, "G_AB", "G_BA")
    s.log(loss_g=loss, loss_g_ab=gan_ab, loss_g_ba=gan_ba, cycle_a=cycle_a, cycle_b=cycle_b, d_fake_g=(on_a.mean() + on_b.mean()) / 2)
    s.update("G_AB", "G_BA")
    losses, reals, fakes = [], [], []
    for i, (d, real, fake) in enumerate(((s.D_A, a, fake_a), (s.D_B, b, fake_b))):
        on_real, on_fake = d(real), d(s.pooled(i, shape) if pool else fake.detach())
        losses.append(0.5 * (mse(on_real, torch.ones_like(on_real)) + mse(on_fake, torch.zeros_like(on_fake))))
        reals.append(on_real)
        fakes.append(on_fake)
    s.backward(losses[0] + losses[1], "D_A", "D_B")
    right = [accuracy(r, f, 0.5) for r, f in zip(reals, fakes)]
    s.log(loss_d=losses[0] + losses[1], loss_d_a=losses[0], loss_d_b=losses[1], d_accuracy=(right[0] + right[1]) / 2)
    s.write(os.path.join(folder, name))


# ---- DiscoGAN ----

def disco_step(stream):
    return Step(stream, G_AB=image_nets.disco_g(2, 1, 2, 2), G_BA=image_nets.disco_g(1, 2, 2, 2),
                D_A=image_nets.DiscoD(2, 2, 2), D_B=image_nets.DiscoD(1, 2, 2))


def disco_d(folder, n=4):
    s = disco_step(230000)
    a, b = s.unit(0, (n, 2, 16, 16)), s.unit(1, (n, 1, 16, 16))
    fake_b, fake_a = s.G_AB(a), s.G_BA(b)
    losses = [0.5 * (cross_entropy(d(real)[0], 1.0) + cross_entropy(d(fake)[0], 0.0))
              for d, real, fake in ((s.D_A, a, fake_a.detach()), (s.D_B, b, fake_b.detach()))]
    s.backward(losses[0] + losses[1], "D_A", "D_B")
    s.log(loss_d=losses[0] + losses[1], loss_d_a=losses[0], loss_d_b=losses[1])
    s.write(os.path.join(folder, "steps_disco_d.bin"))


def feature_distance(real, fake):
    return sum(((r.detach().mean(0) - f.mean(0)) ** 2).mean() for r, f in zip(real, fake))


def disco_g(folder, n=4, rate=0.375):
    s = disco_step(240000)
    a, b = s.unit(0, (n, 2, 16, 16)), s.unit(1, (n, 1, 16, 16))
    fake_b, fake_a = s.G_AB(a), s.G_BA(b)
    features_a, features_b = s.D_A(a)[1], s.D_B(b)[1]
    (on_a, of_a), (on_b, of_b) = s.D_A(fake_a), s.D_B(fake_b)
    gan_a, gan_b = 0.1 * cross_entropy(on_a, 1.0), 0.1 * cross_entropy(on_b, 1.0)
    match_a, match_b = feature_distance(features_a, of_a), feature_distance(features_b, of_b)
    cycle_a, cycle_b = ((s.G_BA(fake_b) - a) ** 2).mean(), ((s.G_AB(fake_a) - b) ** 2).mean()
    loss = (gan_b + 0.9 * match_b) * (1 - rate) + rate * cycle_a + (gan_a + 0.9 * match_a) * (1 - rate) + rate * cycle_b
    s.backward(loss, "G_AB", "G_BA")
    s.log(loss_g=loss, loss_g_ab=gan_b, loss_g_ba=gan_a, feature=match_a + match_b, cycle_a=cycle_a, cycle_b=cycle_b)
    s.write(os.path.join(folder, "steps_disco_g.bin"))


# ---- from noise ----

N, Z, SIDE = 4, 5, 8


def noise_step(stream):
    """A perceptron makes images, a critic with layer norm gives a map of verdicts."""
    d = [nn.Conv2d(1, 3, 4, 2, 1, bias=False), nn.GroupNorm(1, 3), nn.LeakyReLU(0.2), nn.Conv2d(3, 4, 3, 1, 1),
         nn.Tanh(), nn.Conv2d(4, 1, 3, 1, 1)]
    return Step(stream, G=mlp(Z, [6, 6], SIDE * SIDE, [nn.Tanh()], (1, SIDE, SIDE)), D=Net(d))


def uniform(purpose, k):
    """k draws in [0, 1) for each of N samples."""
    return (latents(SEED, purpose, STEP, N, k) + 1) / 2


def slope(d, x):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(d(x).sum(), x, create_graph=True)[0].reshape(N, -1)


def noise_d(folder, name, stream, real_loss, fake_loss, penalty):
    s = noise_step(stream)
    real, fake = s.signed(0, (N, 1, SIDE, SIDE)), s.G(latents(SEED, LATENT_D, STEP, N, Z)).detach()
    on_real, on_fake = s.D(real), s.D(fake)
    loss_real, loss_fake = real_loss(on_real).mean(), fake_loss(on_fake).mean()
    loss = loss_real + loss_fake
    if penalty:
        cost, norm = penalty(s.D, real, fake)
        loss = loss + cost
        s.log(penalty=cost, slope_norm=norm)
    s.backward(loss, "D")
    s.log(loss_d=loss, loss_d_real=loss_real, loss_d_fake=loss_fake, d_accuracy=accuracy(on_real, on_fake))
    s.write(os.path.join(folder, name))


def between(d, real, fake):
    """WGAN-GP."""
    alpha = uniform(PENALTY, 1).reshape(N, 1, 1, 1)
    norm = slope(d, real + alpha * (fake - real)).norm(2, 1)
    return 10 * ((norm - 1) ** 2).mean(), norm.mean()


def one_sided(d, real, fake):
    alpha = uniform(PENALTY, 1).reshape(N, 1, 1, 1)
    norm = slope(d, real + alpha * (fake - real)).norm(2, 1)
    return 10 * (relu(norm - 0.5) ** 2).mean(), norm.mean()


def r1(d, real, fake):
    g = slope(d, real)
    return 10 / 2 * (g ** 2).sum(1).mean(), g.norm(2, 1).mean()


def dragan(d, real, fake):
    u = uniform(PENALTY, SIDE * SIDE).reshape(real.shape)
    norm = slope(d, real + 0.5 * real.std(unbiased=False) * u).norm(2, 1)
    return 10 * ((norm - 1) ** 2).mean(), norm.mean()


def picked(d, real, fake):
    """The second of every two neighbours."""
    alpha = uniform(PENALTY, 1).reshape(N, 1, 1, 1)
    norm = slope(d, real + alpha * (fake - real)).norm(2, 1)[1::2]
    return 10 * ((norm - 1) ** 2).mean(), norm.mean()


def noise_g(folder, name, stream, loss_of):
    s = noise_step(stream)
    loss = loss_of(s.D(s.G(latents(SEED, LATENT_G, STEP, N, Z)))).mean()
    s.backward(loss, "G")
    s.log(loss_g=loss)
    s.write(os.path.join(folder, name))


def from_noise(folder):
    wasserstein = (lambda x: -x, lambda x: x)
    hinge = (lambda x: relu(1 - x), lambda x: relu(1 + x))
    saturating = (lambda x: softplus(-x), softplus)
    smooth = (lambda x: softplus(-x) + 0.1 * x, softplus)  # label 0.9
    for i, (name, loss, penalty) in enumerate((("wgan_gp", wasserstein, between), ("one_sided", wasserstein, one_sided),
                                               ("r1", saturating, r1), ("dragan", saturating, dragan), ("hinge", hinge, None),
                                               ("picked", wasserstein, picked), ("smooth", smooth, None))):
        noise_d(folder, "steps_%s_d.bin" % name, 250000 + 10000 * i, loss[0], loss[1], penalty)
    noise_g(folder, "steps_wgan_gp_g.bin", 330000, lambda x: -x)
    noise_g(folder, "steps_hinge_g.bin", 340000, lambda x: -x)
    noise_g(folder, "steps_blend_g.bin", 350000, lambda x: 0.75 * softplus(-x) - 0.25 * softplus(x))


# ---- classifier ----

def classifier(folder, n=6, classes=5):
    s = Step(360000, D=Net([nn.Conv2d(2, 3, 4, 2, 1, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, classes)]))
    label = torch.tensor([int((number(s.stream + 8001, i) + 1) / 2 * classes) for i in range(n)])
    logits = s.D(s.signed(0, (n, 2, 8, 8)))
    loss = nn.functional.cross_entropy(logits, label)
    s.backward(loss, "D")
    s.log(loss_d=loss, accuracy=(logits.argmax(1) == label).double().mean())
    s.write(os.path.join(folder, "steps_classifier.bin"))


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    torch.set_num_threads(1)
    pix2pix(folder)
    cyclegan(folder, "steps_cyclegan.bin", 210000, 0.0, True)
    cyclegan(folder, "steps_cyclegan_identity.bin", 220000, 0.5, False)
    disco_d(folder)
    disco_g(folder)
    from_noise(folder)
    classifier(folder)


if __name__ == "__main__":
    main()
