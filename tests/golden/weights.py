"""Two networks of public PyTorch code with random weights, as their users would save them, and what they compute.
Run: python3 tests/golden/weights.py (torch 1.13). Writes tests/golden/weights_*.safetensors.

Modules and keys are those of pytorch-CycleGAN-and-pix2pix (ResnetGenerator, instance norm) and of pytorch/examples
(dcgan Generator, batch norm in evaluation mode). Only the format is written by hand: Debian has no safetensors."""
import json
import os
import struct

import torch
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))


def save(name, tensors):
    head, at, blobs = {}, 0, []
    for key, t in sorted(tensors.items(), key=lambda kv: kv[1].dtype != torch.int64):
        blob = t.detach().contiguous().numpy().tobytes()
        kind = {torch.int64: "I64", torch.float32: "F32", torch.float16: "F16"}[t.dtype]
        head[key] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [at, at + len(blob)]}
        at += len(blob)
        blobs.append(blob)
    text = json.dumps(head).encode()
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        norm = nn.InstanceNorm2d
        self.conv_block = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3), norm(c), nn.ReLU(True),
                                        nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3), norm(c))

    def forward(self, x):
        return x + self.conv_block(x)


class Resnet(nn.Module):
    def __init__(self, ch=3, ngf=4, blocks=2):
        super().__init__()
        norm, m = nn.InstanceNorm2d, [nn.ReflectionPad2d(3), nn.Conv2d(ch, ngf, 7), nn.InstanceNorm2d(ngf), nn.ReLU(True)]
        for i in range(2):
            m += [nn.Conv2d(ngf << i, ngf << i + 1, 3, 2, 1), norm(ngf << i + 1), nn.ReLU(True)]
        m += [Block(ngf * 4) for _ in range(blocks)]
        for i in (2, 1):
            m += [nn.ConvTranspose2d(ngf << i, ngf << i - 1, 3, 2, 1, output_padding=1), norm(ngf << i - 1), nn.ReLU(True)]
        self.model = nn.Sequential(*m, nn.ReflectionPad2d(3), nn.Conv2d(ngf, ch, 7), nn.Tanh())

    def forward(self, x):
        return self.model(x)


class Dcgan(nn.Module):
    def __init__(self, nz=16, ngf=4, nc=1):
        super().__init__()
        m, c = [nn.ConvTranspose2d(nz, ngf * 4, 4, 1, 0, bias=False), nn.BatchNorm2d(ngf * 4), nn.ReLU(True)], ngf * 4
        for _ in range(2):
            m += [nn.ConvTranspose2d(c, c // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(c // 2), nn.ReLU(True)]
            c //= 2
        self.main = nn.Sequential(*m, nn.ConvTranspose2d(c, nc, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, x):
        return self.main(x)


def randomise(net):
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn_like(p) * (0.2 if p.dim() > 1 else 0.3) + (0 if p.dim() > 1 else 0.5))
    return net


torch.manual_seed(1)
with torch.no_grad():
    net, x = randomise(Resnet()), torch.rand(1, 3, 20, 28) * 2 - 1
    state = dict(net.state_dict())
    # An old checkpoint, saved from inside DataParallel, with running statistics that instance norm does not use.
    old = {"module." + k: v for k, v in state.items()}
    old.update({"module.model.2.running_mean": torch.zeros(4), "module.model.2.running_var": torch.ones(4)})
    save("weights_resnet.safetensors", old)
    save("weights_resnet_io.safetensors", {"x": x.permute(0, 2, 3, 1), "y": net(x).permute(0, 2, 3, 1)})
    net, z = randomise(Dcgan()), torch.randn(3, 16)
    for _ in range(5):
        net(torch.randn(8, 16, 1, 1))  # running statistics away from their start
    net.eval()
    save("weights_dcgan.safetensors", net.state_dict())
    save("weights_dcgan_io.safetensors", {"x": z, "y": net(z[:, :, None, None]).permute(0, 2, 3, 1)})
