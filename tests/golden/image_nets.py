"""Networks of image-to-image GANs and WGAN-GP, our own transcription of the public definitions, for make.py.

Module names are those of the public code, so state_dict keys are: pix2pix and CycleGAN as
pytorch-CycleGAN-and-pix2pix has them, DiscoGAN as SKTBrain/DiscoGAN, WGAN-GP's residual networks after the TensorFlow
scopes of improved_wgan_training.
"""
import torch
from torch import nn

NORM = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d, "layer": lambda c: nn.GroupNorm(1, c),
        "none": lambda c: nn.Identity()}


# ---- pix2pix ----

class UnetLevel(nn.Module):
    """One level and all inside it. outer: channels that it leaves behind, inner: those below."""

    def __init__(self, outer, inner, norm, inside=None, image=None):
        super().__init__()
        bias, self.outermost = norm == "instance", image is not None
        down = nn.Conv2d(image[0] if image else outer, inner, 4, 2, 1, bias=bias)
        up_in = inner if inside is None else 2 * inner
        if image:
            up = nn.ConvTranspose2d(up_in, image[1], 4, 2, 1)
            layers = [down, inside, nn.ReLU(), up, nn.Tanh()]
        else:
            up = [nn.ReLU(), nn.ConvTranspose2d(up_in, outer, 4, 2, 1, bias=bias), NORM[norm](outer)]
            middle = [] if inside is None else [NORM[norm](inner), inside]
            layers = [nn.LeakyReLU(0.2), down] + middle + up
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class Unet(nn.Module):
    def __init__(self, image_in, image_out, depth, width, norm):
        super().__init__()
        channels = lambda level: width * min(2 ** (level - 1), 8)
        inside = None
        for level in range(depth, 1, -1):
            inside = UnetLevel(channels(level - 1), channels(level), norm, inside)
        self.model = UnetLevel(None, width, norm, inside, (image_in, image_out))

    def forward(self, x):
        return self.model(x)


class Sequence(nn.Module):
    """nn.Sequential under a name of its own."""

    def __init__(self, name, layers):
        super().__init__()
        self.add_module(name, nn.Sequential(*layers))
        self.name = name

    def forward(self, x):
        return getattr(self, self.name)(x)


def patchgan(image, width, depth, norm):
    bias, c = norm == "instance", width
    layers = [nn.Conv2d(image, c, 4, 2, 1), nn.LeakyReLU(0.2)]
    for i in range(1, depth + 1):
        more = width * min(2 ** i, 8)
        layers += [nn.Conv2d(c, more, 4, 2 if i < depth else 1, 1, bias=bias), NORM[norm](more), nn.LeakyReLU(0.2)]
        c = more
    return Sequence("model", layers + [nn.Conv2d(c, 1, 4, 1, 1)])


def pixel(image, width, norm):
    bias = norm == "instance"
    return Sequence("net", [nn.Conv2d(image, width, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 2 * width, 1, bias=bias),
                            NORM[norm](2 * width), nn.LeakyReLU(0.2), nn.Conv2d(2 * width, 1, 1, bias=bias)])


# ---- CycleGAN ----

class CycleBlock(nn.Module):
    def __init__(self, c, norm):
        super().__init__()
        bias = norm == "instance"
        self.conv_block = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3, bias=bias), NORM[norm](c), nn.ReLU(),
                                        nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3, bias=bias), NORM[norm](c))

    def forward(self, x):
        return x + self.conv_block(x)


def cycle_resnet(image_in, image_out, width, blocks, norm):
    bias = norm == "instance"
    layers = [nn.ReflectionPad2d(3), nn.Conv2d(image_in, width, 7, bias=bias), NORM[norm](width), nn.ReLU()]
    for c in (width, 2 * width):
        layers += [nn.Conv2d(c, 2 * c, 3, 2, 1, bias=bias), NORM[norm](2 * c), nn.ReLU()]
    layers += [CycleBlock(4 * width, norm) for _ in range(blocks)]
    for c in (2 * width, width):
        layers += [nn.ConvTranspose2d(2 * c, c, 3, 2, 1, output_padding=1, bias=bias), NORM[norm](c), nn.ReLU()]
    return Sequence("model", layers + [nn.ReflectionPad2d(3), nn.Conv2d(width, image_out, 7), nn.Tanh()])


# ---- DiscoGAN ----

def disco_g(image_in, image_out, width, levels):
    layers, c = [nn.Conv2d(image_in, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)], width
    for _ in range(levels - 1):
        layers += [nn.Conv2d(c, 2 * c, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * c), nn.LeakyReLU(0.2)]
        c *= 2
    for _ in range(levels - 1):
        layers += [nn.ConvTranspose2d(c, c // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(c // 2), nn.ReLU()]
        c //= 2
    return Sequence("main", layers + [nn.ConvTranspose2d(c, image_out, 4, 2, 1, bias=False), nn.Sigmoid()])


class DiscoD(nn.Module):
    """Returns logits and the feature maps."""

    def __init__(self, image, width, levels):
        super().__init__()
        self.levels, c = levels, image
        for i in range(1, levels + 1):
            more = width * 2 ** (i - 1)
            self.add_module("conv%d" % i, nn.Conv2d(c, more, 4, 2, 1, bias=False))
            if i > 1:
                self.add_module("bn%d" % i, nn.BatchNorm2d(more))
            c = more
        self.add_module("conv%d" % (levels + 1), nn.Conv2d(c, 1, 4, bias=False))

    def forward(self, x):
        features = []
        for i in range(1, self.levels + 1):
            x = getattr(self, "conv%d" % i)(x)
            x = nn.functional.leaky_relu(getattr(self, "bn%d" % i)(x) if i > 1 else x, 0.2)
            features += [x] if i > 1 else []
        return getattr(self, "conv%d" % (self.levels + 1))(x).reshape(x.shape[0], 1), features


# ---- WGAN-GP ----

def double(x):
    return nn.functional.interpolate(x, scale_factor=2, mode="nearest")


def halve(x):
    return nn.functional.avg_pool2d(x, 2)


class GpBlock(nn.Module):
    """how: "up" (doubled before the first convolution), "down" (halved after the second), "" (neither)."""

    def __init__(self, c_in, inner, c_out, how, norm, first_bias, first=False):
        super().__init__()
        self.how, self.first = how, first
        if not first:
            self.BN1 = NORM[norm](c_in)
        self.Conv1 = nn.Conv2d(c_in, inner, 3, 1, 1, bias=first_bias)
        if not first:
            self.BN2 = NORM[norm](inner)
        self.Conv2 = nn.Conv2d(inner, c_out, 3, 1, 1)
        if how:
            self.Shortcut = nn.Conv2d(c_in, c_out, 1)

    def forward(self, x):
        relu, y = torch.relu, x
        if not self.first:
            y = relu(self.BN1(y))
        y = self.Conv1(double(y) if self.how == "up" else y)
        y = relu(y if self.first else self.BN2(y))
        y = self.Conv2(y)
        if self.how == "up":
            return self.Shortcut(double(x)) + y
        if self.how == "down":
            return self.Shortcut(halve(x)) + halve(y)
        return x + y


class GpGenerator(nn.Module):
    def __init__(self, z, size, image, width):
        super().__init__()
        self.c = width if size == 32 else 8 * width
        self.Input = nn.Linear(z, 16 * self.c)
        blocks = [(str(i), width, width) for i in (1, 2, 3)]
        if size == 64:
            blocks = [("Res%d" % (i + 1), a * width, b * width) for i, (a, b) in enumerate(((8, 8), (8, 4), (4, 2), (2, 1)))]
        self.blocks = [b[0] for b in blocks]
        for name, a, b in blocks:
            self.add_module(name, GpBlock(a, b, b, "up", "batch", size == 32))
        self.OutputN = nn.BatchNorm2d(width)
        self.Output = nn.Conv2d(width, image, 3, 1, 1)

    def forward(self, z):
        x = self.Input(z).reshape(-1, self.c, 4, 4)
        for name in self.blocks:
            x = getattr(self, name)(x)
        return torch.tanh(self.Output(torch.relu(self.OutputN(x))))


class GpCritic32(nn.Module):
    def __init__(self, image, width, norm):
        super().__init__()
        self.add_module("1", GpBlock(image, width, width, "down", norm, True, first=True))
        self.add_module("2", GpBlock(width, width, width, "down", norm, True))
        self.add_module("3", GpBlock(width, width, width, "", norm, True))
        self.add_module("4", GpBlock(width, width, width, "", norm, True))
        self.Output = nn.Linear(width, 1)

    def forward(self, x):
        for name in "1234":
            x = getattr(self, name)(x)
        return self.Output(torch.relu(x).mean((2, 3)))


class GpCritic64(nn.Module):
    def __init__(self, image, width, norm):
        super().__init__()
        self.Input = nn.Conv2d(image, width, 3, 1, 1)
        for i, (a, b) in enumerate(((1, 2), (2, 4), (4, 8), (8, 8))):
            self.add_module("Res%d" % (i + 1), GpBlock(a * width, a * width, b * width, "down", norm, False))
        self.Output = nn.Linear(16 * 8 * width, 1)

    def forward(self, x):
        x = self.Input(x)
        for i in range(1, 5):
            x = getattr(self, "Res%d" % i)(x)
        return self.Output(x.reshape(x.shape[0], -1))


class SamePad(nn.Module):
    """What TensorFlow's SAME adds for kernel 5, stride 2."""

    def forward(self, x):
        before = 2 if x.shape[2] % 2 else 1
        return nn.functional.pad(x, (before, 2, before, 2))


class SameDeconv(nn.ConvTranspose2d):
    """conv2d_transpose with kernel 5, stride 2, SAME: the whole result without its first and its last two rows. cut: how
    much of that is kept."""

    def __init__(self, c_in, c_out, cut=None):
        super().__init__(c_in, c_out, 5, 2)
        self.cut = cut

    def forward(self, x):
        keep = self.cut or 2 * x.shape[2]
        return super().forward(x)[:, :, 1:1 + keep, 1:1 + keep]


class K5Generator(nn.Module):
    def __init__(self, z, size, image, width, norm):
        super().__init__()
        self.names = ["2", "3", "5"] if size < 64 else ["2", "3", "4", "5"]
        self.c, self.norm, self.per_unit = width * 2 ** (len(self.names) - 1), norm, size < 64
        c = self.c
        self.Input = nn.Linear(z, 16 * c)
        if norm:
            self.BN1 = nn.BatchNorm1d(16 * c) if self.per_unit else nn.BatchNorm2d(c)
        for i, name in enumerate(self.names):
            last = name == "5"
            self.add_module(name, SameDeconv(c, image if last else c // 2, 7 if size == 28 and i == 0 else None))
            c //= 2
            if norm and not last:
                self.add_module("BN" + name, nn.BatchNorm2d(c))

    def forward(self, z):
        x, fold = self.Input(z), lambda x: x.reshape(-1, self.c, 4, 4)
        if self.norm:
            x = fold(self.BN1(x)) if self.per_unit else self.BN1(fold(x))
        x = fold(x)
        for name in self.names:
            x = getattr(self, name)(torch.relu(x))
            if self.norm and name != "5":
                x = getattr(self, "BN" + name)(x)
        return torch.tanh(x)


class K5Critic(nn.Module):
    def __init__(self, size, image, width, norm):
        super().__init__()
        self.maps, self.norm, self.pad, c = 3 if size < 64 else 4, norm, SamePad(), image
        for i in range(self.maps):
            self.add_module(str(i + 1), nn.Conv2d(c, width * 2 ** i, 5, 2))
            c = width * 2 ** i
            if norm and i:
                self.add_module("BN%d" % (i + 1), NORM[norm](c))
        self.Output = nn.Linear(16 * c, 1)

    def forward(self, x):
        for i in range(1, self.maps + 1):
            x = getattr(self, str(i))(self.pad(x))
            x = nn.functional.leaky_relu(getattr(self, "BN%d" % i)(x) if self.norm and i > 1 else x, 0.2)
        return self.Output(x.reshape(x.shape[0], -1))
