"""One training iteration of a public PyTorch GAN, as published or tuned, timed on synthetic input.

Prints one line "seconds d_step g_step iteration" per timed iteration after a warm-up; reads "go" lines from standard
input, one per iteration, so that another program's iterations can be interleaved.

    --work dcgan     the public DCGAN example: 64 px RGB, batch 64                       (Radford et al. 2015)
           wgan-gp   the same networks, critic without norm, 5 critic steps and penalty  (Gulrajani et al. 2017)
           wgan-gp-resnet  the residual networks of gan_64x64, layer norm in the critic  (Gulrajani et al. 2017)
           pix2pix   U-Net-256, PatchGAN 70, L1, dropout, batch 1                        (Isola et al. 2017)
           cyclegan  ResNet-9, PatchGAN 70, cycle, identity, pool of 50; 128 px, batch 1 (Zhu et al. 2017)

Networks, losses and order of steps are those of the public code. --with names what is tuned, separated by commas:
channels_last; freeze (D in the G step, where the public code does not); foreach, fused (Adam); flush (subnormal numbers to zero); compile (torch.compile of the networks; WGAN-GP's critic stays
as it is for the penalty, which needs a second derivative); graphs (that with mode reduce-overhead); tf32 (products of f32 on a GPU). --device cuda times a GPU, --size sets
the side of pix2pix's and CycleGAN's images. What a process is started with, as its malloc, belongs
to tests/bench/compare.
"""
import argparse
import random
import sys
import time

import torch
import torch.nn as nn


# ---- DCGAN ----

def dcgan_generator(z=100, w=64, c=3):
    def up(i, o, s, p):
        return [nn.ConvTranspose2d(i, o, 4, s, p, bias=False), nn.BatchNorm2d(o), nn.ReLU(True)]

    return nn.Sequential(*up(z, w * 8, 1, 0), *up(w * 8, w * 4, 2, 1), *up(w * 4, w * 2, 2, 1), *up(w * 2, w, 2, 1),
                         nn.ConvTranspose2d(w, c, 4, 2, 1, bias=False), nn.Tanh())


def dcgan_discriminator(norm=True, last=nn.Sigmoid, w=64, c=3):
    def down(i, o):
        layers = [nn.Conv2d(i, o, 4, 2, 1, bias=False)]
        return layers + ([nn.BatchNorm2d(o)] if norm else []) + [nn.LeakyReLU(0.2, inplace=True)]

    return nn.Sequential(nn.Conv2d(c, w, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True), *down(w, w * 2),
                         *down(w * 2, w * 4), *down(w * 4, w * 8), nn.Conv2d(w * 8, 1, 4, 1, 0, bias=False), last())


class GpBlock(nn.Module):
    """Norm, ReLU, 3x3, twice; doubled in front of the first, or a mean of 2x2 behind the second."""

    def __init__(self, i, inner, o, norm, up):
        super().__init__()
        grow = [nn.Upsample(scale_factor=2)] if up else []
        shrink = [] if up else [nn.AvgPool2d(2)]
        self.body = nn.Sequential(norm(i), nn.ReLU(), *grow, nn.Conv2d(i, inner, 3, 1, 1, bias=False), norm(inner),
                                  nn.ReLU(), nn.Conv2d(inner, o, 3, 1, 1), *shrink)
        # 1x1 convolutions commute with both: on the smaller map, as gandist has them
        self.short = nn.Sequential(nn.Conv2d(i, o, 1), *grow) if up else nn.Sequential(*shrink, nn.Conv2d(i, o, 1))

    def forward(self, x):
        return self.short(x) + self.body(x)


def gp_generator(z=128, w=64, c=3):
    size = [8 * w, 8 * w, 4 * w, 2 * w, w]
    blocks = [GpBlock(i, o, o, nn.BatchNorm2d, True) for i, o in zip(size, size[1:])]
    return nn.Sequential(nn.Flatten(), nn.Linear(z, 16 * 8 * w), nn.Unflatten(1, (8 * w, 4, 4)), *blocks,
                         nn.BatchNorm2d(w), nn.ReLU(), nn.Conv2d(w, c, 3, 1, 1), nn.Tanh())


def gp_critic(w=64, c=3):
    size = [w, 2 * w, 4 * w, 8 * w, 8 * w]
    blocks = [GpBlock(i, i, o, lambda n: nn.GroupNorm(1, n), False) for i, o in zip(size, size[1:])]
    return nn.Sequential(nn.Conv2d(c, w, 3, 1, 1), *blocks, nn.Flatten(), nn.Linear(16 * 8 * w, 1))


# ---- image to image ----

class UnetBlock(nn.Module):
    def __init__(self, outer, inner, sub=None, c=None, outermost=False, dropout=False):
        super().__init__()
        self.outermost = outermost
        down = nn.Conv2d(c or outer, inner, 4, 2, 1, bias=False)
        if outermost:
            layers = [down, sub, nn.ReLU(True), nn.ConvTranspose2d(inner * 2, outer, 4, 2, 1), nn.Tanh()]
        elif sub is None:
            layers = [nn.LeakyReLU(0.2, True), down, nn.ReLU(True),
                      nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=False), nn.BatchNorm2d(outer)]
        else:
            layers = [nn.LeakyReLU(0.2, True), down, nn.BatchNorm2d(inner), sub, nn.ReLU(True),
                      nn.ConvTranspose2d(inner * 2, outer, 4, 2, 1, bias=False), nn.BatchNorm2d(outer)]
            if dropout:
                layers.append(nn.Dropout(0.5))
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        y = self.model(x)
        return y if self.outermost else torch.cat([x, y], 1)


def unet_256(w=64, c=3):
    block = UnetBlock(w * 8, w * 8)
    for _ in range(3):
        block = UnetBlock(w * 8, w * 8, block, dropout=True)
    for i in (4, 2, 1):
        block = UnetBlock(w * i, w * i * 2, block)
    return UnetBlock(c, w, block, c=c, outermost=True)


class ResnetBlock(nn.Module):
    def __init__(self, c):
        super().__init__()

        def conv():
            return [nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3), nn.InstanceNorm2d(c)]

        self.conv_block = nn.Sequential(*conv(), nn.ReLU(True), *conv())

    def forward(self, x):
        return x + self.conv_block(x)


def resnet_9(w=64, c=3):
    def norm(o):
        return [nn.InstanceNorm2d(o), nn.ReLU(True)]

    layers = [nn.ReflectionPad2d(3), nn.Conv2d(c, w, 7), *norm(w)]
    for i in (1, 2):
        layers += [nn.Conv2d(w * i, w * i * 2, 3, 2, 1), *norm(w * i * 2)]
    layers += [ResnetBlock(w * 4) for _ in range(9)]
    for i in (4, 2):
        layers += [nn.ConvTranspose2d(w * i, w * i // 2, 3, 2, 1, output_padding=1), *norm(w * i // 2)]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(w, c, 7), nn.Tanh())


def patchgan(c, norm, w=64):
    bias = norm is nn.InstanceNorm2d
    layers = [nn.Conv2d(c, w, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for i, stride in ((1, 2), (2, 2), (4, 1)):
        layers += [nn.Conv2d(w * i, w * i * 2, 4, stride, 1, bias=bias), norm(w * i * 2), nn.LeakyReLU(0.2, True)]
    return nn.Sequential(*layers, nn.Conv2d(w * 8, 1, 4, 1, 1))


def init(m):
    name = m.__class__.__name__
    if "Conv" in name:
        nn.init.normal_(m.weight, 0.0, 0.02)
    elif "BatchNorm" in name:
        nn.init.normal_(m.weight, 1.0, 0.02)
        nn.init.zeros_(m.bias)


# ---- steps ----

class Work:
    """Networks, optimisers and what the variants share."""

    def __init__(self, a, generators, discriminators, lr=2e-4, betas=(0.5, 0.999)):
        self.a = a
        self.device = torch.device(getattr(a, "device", "cpu"))
        self.layout = torch.channels_last if a.has("channels_last") else torch.contiguous_format
        adam = {word: True for word in ("foreach", "fused") if a.has(word)}
        self.g, self.opt_g = self.place(generators, lr=lr, betas=betas, **adam)
        self.d, self.opt_d = self.place(discriminators, lr=lr, betas=betas, **adam)

    def place(self, nets, **adam):
        nets = [n.apply(init).to(self.device, memory_format=self.layout) for n in nets]
        opt = torch.optim.Adam([p for n in nets for p in n.parameters()], **adam)
        mode = "reduce-overhead" if self.a.has("graphs") else "default"
        return [torch.compile(n, mode=mode) for n in nets] if self.a.has("compile") else nets, opt

    def images(self, n, size):
        return torch.rand(n, 3, size, size, device=self.device).mul_(2).sub_(1).contiguous(memory_format=self.layout)

    def noise(self, n, z):
        return torch.randn(n, z, 1, 1, device=self.device)

    def now(self):
        """Seconds, when all is done that was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def forward(self, net, x):
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.a.bf16):
            y = net(x)
        return y.float()

    def clear(self, opt):
        opt.zero_grad()

    def train_d(self, on):
        for net in self.d:
            net.requires_grad_(on)


class Dcgan(Work):
    def __init__(self, a):
        super().__init__(a, [dcgan_generator()], [dcgan_discriminator()])
        self.n = a.batch or 64
        self.real = self.images(self.n, 64)
        self.ones, self.zeros = (make(self.n, device=self.device) for make in (torch.ones, torch.zeros))

    def step(self):
        bce, (g,), (d,) = nn.BCELoss(), self.g, self.d
        t0 = self.now()
        self.clear(self.opt_d)
        bce(self.forward(d, self.real).view(-1), self.ones).backward()
        fake = self.forward(g, self.noise(self.n, 100))
        bce(self.forward(d, fake.detach()).view(-1), self.zeros).backward()
        self.opt_d.step()
        t1 = self.now()
        if self.a.has("freeze"):
            self.train_d(False)
        self.clear(self.opt_g)
        bce(self.forward(d, fake).view(-1), self.ones).backward()
        self.opt_g.step()
        self.train_d(True)
        return t1 - t0, self.now() - t1


class WganGp(Work):
    def __init__(self, a, nets=None, **adam):
        nets = nets or (dcgan_generator(z=128), dcgan_discriminator(norm=False, last=nn.Flatten))
        super().__init__(a, [nets[0]], [nets[1]], **(adam or {"lr": 1e-4, "betas": (0.5, 0.9)}))
        self.n = a.batch or 64
        self.real = self.images(self.n, 64)

    def critic(self):
        (g,), (d,) = self.g, self.d
        self.clear(self.opt_d)
        with torch.no_grad():
            fake = self.forward(g, self.noise(self.n, 128))
        between = torch.lerp(self.real, fake, torch.rand(self.n, 1, 1, 1, device=self.device)).requires_grad_(True)
        slope, = torch.autograd.grad(self.forward(getattr(d, "_orig_mod", d), between).sum(), between, create_graph=True)
        penalty = 10 * (slope.flatten(1).norm(2, dim=1) - 1).square().mean()
        (self.forward(d, fake).mean() - self.forward(d, self.real).mean() + penalty).backward()
        self.opt_d.step()

    def step(self):
        (g,), (d,) = self.g, self.d
        t0 = self.now()
        for _ in range(5):
            self.critic()
        t1 = self.now()
        self.train_d(False)
        self.clear(self.opt_g)
        (-self.forward(d, self.forward(g, self.noise(self.n, 128))).mean()).backward()
        self.opt_g.step()
        self.train_d(True)
        return t1 - t0, self.now() - t1


class WganGpResnet(WganGp):
    def __init__(self, a):
        super().__init__(a, (gp_generator(), gp_critic()), lr=2e-4, betas=(0.0, 0.9))


def against(value, logits, loss):
    return loss(logits, torch.full_like(logits, value))


class Pix2pix(Work):
    def __init__(self, a):
        super().__init__(a, [unet_256()], [patchgan(6, nn.BatchNorm2d)])
        self.real = [self.images(a.batch or 1, a.size or 256) for _ in range(2)]

    def step(self):
        bce, (g,), (d,), (x, y) = nn.BCEWithLogitsLoss(), self.g, self.d, self.real
        t0 = self.now()
        fake = self.forward(g, x)
        self.clear(self.opt_d)
        loss = against(0.0, self.forward(d, torch.cat([x, fake.detach()], 1)), bce)
        (0.5 * (loss + against(1.0, self.forward(d, torch.cat([x, y], 1)), bce))).backward()
        self.opt_d.step()
        t1 = self.now()
        self.train_d(False)
        self.clear(self.opt_g)
        loss = against(1.0, self.forward(d, torch.cat([x, fake], 1)), bce)
        (loss + 100 * (fake - y).abs().mean()).backward()
        self.opt_g.step()
        self.train_d(True)
        return t1 - t0, self.now() - t1


class Pool:
    def __init__(self, size=50):
        self.size, self.images = size, []

    def query(self, image):
        if len(self.images) < self.size:
            self.images.append(image)
            return image
        if random.random() < 0.5:
            return image
        i = random.randrange(self.size)
        old, self.images[i] = self.images[i], image
        return old


class Cyclegan(Work):
    def __init__(self, a):
        super().__init__(a, [resnet_9(), resnet_9()], [patchgan(3, nn.InstanceNorm2d), patchgan(3, nn.InstanceNorm2d)])
        self.real = [self.images(a.batch or 1, a.size or 128) for _ in range(2)]
        self.pools = [Pool(), Pool()]

    def step(self):
        mse, l1, (ab, ba), (d_a, d_b), (a, b) = nn.MSELoss(), nn.L1Loss(), self.g, self.d, self.real
        t0 = self.now()
        fake_b, fake_a = self.forward(ab, a), self.forward(ba, b)
        self.train_d(False)
        self.clear(self.opt_g)
        loss = 5 * (l1(self.forward(ab, b), b) + l1(self.forward(ba, a), a))
        loss = loss + 10 * (l1(self.forward(ba, fake_b), a) + l1(self.forward(ab, fake_a), b))
        loss = loss + against(1.0, self.forward(d_b, fake_b), mse) + against(1.0, self.forward(d_a, fake_a), mse)
        loss.backward()
        self.opt_g.step()
        t1 = self.now()
        self.train_d(True)
        self.clear(self.opt_d)
        for d, real, fake, pool in ((d_a, a, fake_a, self.pools[0]), (d_b, b, fake_b, self.pools[1])):
            loss = against(1.0, self.forward(d, real), mse)
            (0.5 * (loss + against(0.0, self.forward(d, pool.query(fake.detach())), mse))).backward()
        self.opt_d.step()
        return self.now() - t1, t1 - t0


WORKS = {"dcgan": Dcgan, "wgan-gp": WganGp, "wgan-gp-resnet": WganGpResnet, "pix2pix": Pix2pix, "cyclegan": Cyclegan}
WORDS = {"channels_last", "freeze", "foreach", "fused", "flush", "compile", "graphs", "tf32"}


def make(a):
    """The work that arguments ask for: a.work, words, batch, size, bf16, device."""
    a.has = set(filter(None, a.words.split(","))).__contains__
    torch.set_flush_denormal(a.has("flush"))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = a.has("tf32")
    torch.backends.cudnn.benchmark = a.device == "cuda"
    torch.manual_seed(1)
    return WORKS[a.work](a)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--work", choices=WORKS, default="dcgan")
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--batch", type=int, default=0)
    a.add_argument("--size", type=int, default=0)
    a.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    a.add_argument("--with", dest="words", default="")
    a.add_argument("--bf16", action="store_true")
    a = a.parse_args()
    unknown = set(filter(None, a.words.split(","))) - WORDS
    if unknown:
        sys.exit("torch_step: --with %s: not known" % ",".join(unknown))
    torch.set_num_threads(a.threads)
    work = make(a)
    for _ in range(2):
        work.step()
    processor = torch.cuda.get_device_name() if a.device == "cuda" else torch.backends.cpu.get_cpu_capability()
    print("ready", torch.__version__, processor, flush=True)
    for _ in sys.stdin:
        d, g = work.step()
        print("seconds %.6f %.6f %.6f" % (d, g, d + g), flush=True)


if __name__ == "__main__":
    main()
