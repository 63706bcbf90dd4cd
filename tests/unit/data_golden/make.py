#!/usr/bin/python3
"""Makes the golden files of the data tests and the seed inputs of its fuzz targets.

    python3 tests/unit/data_golden/make.py                   (needs Pillow: Debian package python3-pil)
    python3 tests/unit/data_golden/make.py real DATA_FOLDER  prints the table of tests/unit/data_real.c

Committed with what it makes (Pillow 9.4.0), so that the tests need no Python.
  resize.bin      Pillow's Image.resize(BILINEAR and BICUBIC), and Resize + CenterCrop as torchvision does them
  pictures.bin    small PNG and JPEG files with the pixels that Pillow decodes
  ../../fuzz/corpus/data_{png,jpeg,idx,tar,labels,cifar}/    the same files, and hostile ones
"""
import gzip
import io
import os
import struct
import sys
import zlib

from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "..", "..", "fuzz", "corpus")


def noise(count, seed):
    """The generator of tests/unit/data_files.h: the top bytes of a linear congruential generator."""
    out = bytearray()
    for _ in range(count):
        seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(seed >> 24)
    return bytes(out)


def picture(w, h, c, seed):
    return Image.frombytes("L" if c == 1 else "RGB", (w, h), noise(w * h * c, seed))


# ---- resize.bin ----

RESIZE = [  # channels, in width, in height, out width, out height
    (1, 28, 28, 32, 32), (1, 28, 28, 64, 64), (1, 32, 32, 28, 28), (3, 100, 100, 32, 32), (3, 100, 100, 64, 64),
    (3, 17, 23, 9, 40), (1, 1, 1, 8, 8), (1, 64, 1, 5, 3), (3, 2, 2, 33, 31), (1, 97, 89, 1, 1), (3, 40, 30, 40, 15),
    (1, 33, 65, 16, 65), (1, 61, 67, 60, 66), (3, 48, 48, 48, 48), (3, 32, 32, 36, 36), (1, 96, 64, 71, 71),
]
FIT = [  # channels, in width, in height, size
    (1, 28, 28, 32), (3, 45, 60, 32), (3, 60, 45, 32), (1, 33, 50, 16), (3, 20, 21, 32), (1, 7, 100, 9), (3, 109, 89, 64),
]


def fit(im, size):
    w, h = im.size
    short, long = min(w, h), max(w, h)
    full = int(size * long / short)
    fw, fh = (size, full) if w <= h else (full, size)
    if (fw, fh) != (w, h):
        im = im.resize((fw, fh), Image.BILINEAR)
    top, left = int(round((fh - size) / 2.0)), int(round((fw - size) / 2.0))
    return im.crop((left, top, left + size, top + size))


def make_resize():
    out = [b"GDRS", struct.pack("<I", 2 * len(RESIZE) + len(FIT))]
    for seed, (c, w, h, ow, oh) in enumerate(RESIZE):
        made = picture(w, h, c, seed).resize((ow, oh), Image.BILINEAR)
        out += [struct.pack("<7I", 0, seed, c, w, h, ow, oh), made.tobytes()]
    for i, (c, w, h, size) in enumerate(FIT):
        seed = 100 + i
        out += [struct.pack("<7I", 1, seed, c, w, h, size, size), fit(picture(w, h, c, seed), size).tobytes()]
    for i, (c, w, h, ow, oh) in enumerate(RESIZE):
        made = picture(w, h, c, 200 + i).resize((ow, oh), Image.BICUBIC)
        out += [struct.pack("<7I", 2, 200 + i, c, w, h, ow, oh), made.tobytes()]
    write(os.path.join(HERE, "resize.bin"), b"".join(out))


# ---- PNG by hand, for what Pillow does not write ----

def chunk(kind, data, good=True):
    crc = zlib.crc32(kind + data) ^ (0 if good else 1)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png(w, h, depth, kind, rows, interlace=0, extra=b""):
    """rows: the filtered, packed bytes before compression."""
    head = struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows, 9)) +
            chunk(b"IEND", b""))


def png_rows(w, h, bytes_per_pixel, data):
    line = w * bytes_per_pixel
    return b"".join(b"\0" + data[y * line:(y + 1) * line] for y in range(h))


def adam7(w, h, bpp, data):
    out = b""
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
                           (0, 1, 1, 2)):
        if x0 >= w:
            continue
        for y in range(y0, h, dy):
            out += b"\0" + b"".join(data[(y * w + x) * bpp:(y * w + x + 1) * bpp] for x in range(x0, w, dx))
    return out


W, H = 13, 11


def saved(im, kind, **options):
    f = io.BytesIO()
    im.save(f, kind, **options)
    return f.getvalue()


def smooth(c):
    """JPEG likes soft pictures; still with some detail."""
    return picture(7, 6, c, 77).resize((W * 3, H * 3), Image.BICUBIC)


def good_pictures():
    """name, file, what gandist decodes: (channels, pixels)"""
    grey, rgb = picture(W, H, 1, 1), picture(W, H, 3, 2)
    rgba = Image.frombytes("RGBA", (W, H), noise(W * H * 4, 3))
    la = Image.frombytes("LA", (W, H), noise(W * H * 2, 4))
    palette = rgb.quantize(16)
    bits = grey.convert("1", dither=Image.NONE)
    wide16, rgb16 = noise(W * H * 2, 5), noise(W * H * 6, 6)
    yield "grey.png", saved(grey, "PNG"), 1, grey.tobytes()
    yield "rgb.png", saved(rgb, "PNG"), 3, rgb.tobytes()
    yield "rgba.png", saved(rgba, "PNG"), 3, rgba.convert("RGB").tobytes()
    yield "grey-alpha.png", saved(la, "PNG"), 1, la.convert("L").tobytes()
    yield "palette.png", saved(palette, "PNG"), 3, palette.convert("RGB").tobytes()
    yield "palette-transparent.png", saved(palette, "PNG", transparency=3), 3, palette.convert("RGB").tobytes()
    yield "one-bit.png", saved(bits, "PNG"), 1, bits.convert("L").tobytes()
    yield "text.png", saved(rgb, "PNG", pnginfo=text_chunk()), 3, rgb.tobytes()
    yield "grey16.png", png(W, H, 16, 0, png_rows(W, H, 2, wide16)), 1, wide16[::2]
    yield "rgb16.png", png(W, H, 16, 2, png_rows(W, H, 6, rgb16)), 3, rgb16[::2]
    yield "interlaced.png", png(W, H, 8, 2, adam7(W, H, 3, rgb.tobytes()), 1), 3, rgb.tobytes()
    yield "grey-transparent.png", png(W, H, 8, 0, png_rows(W, H, 1, grey.tobytes()), 0,
                                      chunk(b"tRNS", b"\0\x40")), 1, grey.tobytes()
    for name, c, options in (("grey.jpg", 1, {}), ("rgb-420.jpg", 3, {"subsampling": 2}),
                             ("rgb-422.jpg", 3, {"subsampling": 1}), ("rgb-444.jpg", 3, {"subsampling": 0}),
                             ("progressive.jpg", 3, {"progressive": True}), ("exif-rotated.jpg", 3, {"exif": ROTATED})):
        data = saved(smooth(c), "JPEG", quality=85, **options)
        yield name, data, c, Image.open(io.BytesIO(data)).tobytes()


ROTATED = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"


def text_chunk():
    from PIL.PngImagePlugin import PngInfo
    info = PngInfo()
    info.add_text("Comment", "x" * 2000, zip=True)
    return info


def scans(data, count):
    """The first scan of a progressive JPEG again and again."""
    start = data.index(b"\xff\xda")
    end = start + 2
    while not (data[end] == 0xFF and data[end + 1] not in (0, *range(0xD0, 0xD8))):
        end += 1
    return data[:start] + data[start:end] * count + data[end:]


def resized_header(data, w, h):
    at = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC2))
    return data[:at + 5] + struct.pack(">HH", h, w) + data[at + 9:]


def hostile_png():
    good = saved(picture(W, H, 3, 2), "PNG")
    zeros = b"\0" * 100000
    yield "bomb-60000.png", png(60000, 60000, 1, 0, zeros)
    yield "bomb-interlaced.png", png(8000, 8000, 16, 6, zeros, 1)
    yield "wide.png", png(65536, 1, 8, 0, zeros)
    yield "zero-side.png", png(0, 5, 8, 0, b"")
    yield "all-ones-header.png", good[:16] + b"\xff" * 13 + good[29:]
    yield "truncated.png", good[:len(good) // 2]
    yield "header-only.png", good[:33]
    yield "signature-only.png", good[:8]
    yield "bad-crc.png", good[:50] + bytes([good[50] ^ 1]) + good[51:]
    yield "no-end.png", good[:-12]
    yield "trailing.png", good + b"more data"
    yield "two-headers.png", good[:33] + good[8:]
    yield "no-palette.png", png(W, H, 8, 3, png_rows(W, H, 1, noise(W * H, 9)))
    yield "short-palette.png", png(W, H, 8, 3, png_rows(W, H, 1, noise(W * H, 9)), 0, chunk(b"PLTE", b"\1\2\3"))
    yield "colour-type-5.png", png(W, H, 8, 5, png_rows(W, H, 1, noise(W * H, 9)))
    yield "few-rows.png", png(W, H, 8, 0, png_rows(W, 3, 1, noise(W * H, 9)))
    yield "many-rows.png", png(W, H, 8, 0, png_rows(W, 30, 1, noise(W * 30, 9)))
    yield "text-bomb.png", png(W, H, 8, 0, png_rows(W, H, 1, noise(W * H, 9)), 0,
                               chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 7000000, 9)))
    yield "text-bad-crc.png", png(W, H, 8, 0, png_rows(W, H, 1, noise(W * H, 9)), 0, chunk(b"tEXt", b"a\0b", False))
    yield "chunk-length.png", good[:33] + b"\x7f\xff\xff\xffIDAT" + good[41:]


def hostile_jpeg():
    good, progressive = saved(smooth(3), "JPEG"), saved(smooth(3), "JPEG", progressive=True)
    cmyk = Image.frombytes("CMYK", (W, H), noise(W * H * 4, 8))
    yield "cmyk-adobe.jpg", saved(cmyk, "JPEG")
    yield "scans-2000.jpg", scans(progressive, 2000)
    yield "scans-101.jpg", scans(progressive, 101)
    yield "huge.jpg", resized_header(good, 65500, 65500)
    yield "large-lie.jpg", resized_header(good, 3000, 3000)
    yield "no-height.jpg", resized_header(good, 39, 0)
    yield "truncated.jpg", good[:len(good) * 3 // 4]
    yield "header-only.jpg", good[:good.index(b"\xff\xda")]
    yield "no-end.jpg", good[:-2]
    yield "start-only.jpg", good[:3]
    yield "trailing.jpg", good + b"more data"
    yield "no-tables.jpg", good.replace(b"\xff\xc4", b"\xff\xfe")
    yield "segment-length.jpg", good[:4] + b"\xff\xff" + good[6:]
    at = good.index(b"\xff\xda") + 40
    yield "garbage-scan.jpg", good[:at] + noise(60, 4).replace(b"\xff", b"\xfe") + good[at + 60:]


def idx(dims, data, kind=8):
    return bytes([0, 0, kind, len(dims)]) + b"".join(struct.pack(">I", d) for d in dims) + data


def idx_files():
    data = noise(5 * 6 * 4, 11)
    good = idx((5, 6, 4), data)
    yield "good.idx", good
    yield "good.idx.gz", gzip.compress(good, 9, mtime=0)
    yield "rgb.idx", idx((2, 3, 3, 3), noise(54, 12))
    yield "labels.idx", idx((9,), noise(9, 13))
    yield "short.idx", good[:-7]
    yield "long.idx", good + b"more"
    yield "cut-header.idx", good[:10]
    yield "floats.idx", idx((5, 6, 4), data * 4, 0x0D)
    yield "overflow.idx", idx((0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), data)
    yield "huge.idx", idx((0x10000, 0x8000, 0x8000), data)
    yield "nothing.idx", idx((0, 6, 4), b"")
    yield "bomb.idx.gz", gzip.compress(idx((200, 1000, 1000), b"\0" * 100), 9, mtime=0)
    yield "truncated.idx.gz", gzip.compress(good, 9, mtime=0)[:-30]
    yield "bad-crc.idx.gz", gzip.compress(good, 9, mtime=0)[:-8] + b"\0" * 8


# ---- tar ----

def block(data):
    return data + b"\0" * (-len(data) % 512)


def header(name, size, kind=b"0", prefix=b"", magic=b"ustar\x0000", size_field=None, checksum=None):
    h = bytearray(512)
    h[0:len(name)] = name
    h[100:124] = b"0000644\x000000000\x000000000\0"
    h[124:136] = size_field if size_field is not None else b"%011o\0" % size
    h[136:148] = b"00000000000\0"
    h[148:156] = b" " * 8
    h[156:157] = kind
    h[257:265] = magic
    h[345:345 + len(prefix)] = prefix
    h[148:156] = checksum if checksum is not None else b"%06o\0 " % sum(h)
    return bytes(h)


def member(name, data, **more):
    return header(name, len(data), **more) + block(data)


def pax(key, value, kind=b"x"):
    body = b" %s=%s\n" % (key, value)
    n = len(body) + 1
    while len(b"%d" % n) + len(body) != n:
        n += 1
    return member(b"PaxHeaders/x", b"%d%s" % (n, body), kind=kind)


END = b"\0" * 1024


def tar_files():
    """Good and hostile archives; the good ones hold pictures of 4x4 pixels."""
    def p(seed):
        return saved(picture(4, 4, 1, seed), "PNG")

    def jpg(seed):
        return saved(picture(8, 8, 3, seed), "JPEG")

    two = member(b"0.png", p(0)) + member(b"1.png", p(1))
    long = b"folder/" + b"n" * 120 + b".png"
    yield "good.tar", two + END
    yield "good-labels.tar", (member(b"a.png", p(0)) + member(b"a.cls", b"2\n") + member(b"b.cls", b"0") +
                              member(b"b.png", p(1)) + END)
    yield "good-pairs.tar", b"".join(member(b"%d.%s.png" % (i, x), p(2 * i + k))
                                     for i in range(3) for k, x in enumerate((b"a", b"b"))) + END
    yield "good-dot.tar", (header(b"./", 0, kind=b"5") + member(b"./x.PNG", p(0)) + member(b"./x.json", b"{}") +
                           member(b"./._x.png", b"none") + END)
    yield "good-jpeg.tar", member(b"a.jpg", jpg(1)) + member(b"b.jpeg", jpg(2)) + END
    yield "good-gnu.tar", (member(b"././@LongLink", long + b"\0", kind=b"L", magic=b"ustar  \0") +
                           member(long[:100], p(0), magic=b"ustar  \0") + END + b"\0" * 8192)
    yield "good-pax.tar", (pax(b"comment", b"x", b"g") + pax(b"path", long) + member(b"short.png", p(0)) +
                           pax(b"size", b"%d" % len(p(1))) + header(b"y.png", 0, size_field=b"%011o\0" % len(p(1))) +
                           block(p(1)) + END)
    yield "good-prefix.tar", member(b"leaf.png", p(0), prefix=b"deep/er") + END
    yield "good-v7.tar", member(b"old.png", p(0), kind=b"\0", magic=b"\0" * 8) + END
    yield "good-base256.tar", member(b"x.png", p(0), size_field=b"\x80" + len(p(0)).to_bytes(11, "big")) + END
    yield "good-one-zero.tar", two + END[:512]
    yield "bad-checksum.tar", member(b"x.png", p(0), checksum=b"000001\0 ") + END
    yield "bad-checksum-text.tar", member(b"x.png", p(0), checksum=b"zzzzzz\0 ") + END
    yield "bad-checksum-base256.tar", member(b"x.png", p(0), checksum=b"\x80" + b"\0" * 7) + END
    yield "bad-size-text.tar", member(b"x.png", p(0), size_field=b"12x\0" + b"\0" * 8) + END
    yield "bad-size-huge.tar", member(b"x.png", p(0), size_field=b"77777777777\0") + END
    yield "bad-size-base256.tar", member(b"x.png", p(0), size_field=b"\x80" + b"\0" * 3 + b"\xff" * 8) + END
    yield "bad-size-wide.tar", member(b"x.png", p(0), size_field=b"\x80" + b"\1" * 11) + END
    yield "bad-size-negative.tar", member(b"x.png", p(0), size_field=b"\xff" * 12) + END
    yield "bad-size-pax.tar", pax(b"size", b"-5") + member(b"x.png", p(0)) + END
    yield "bad-size-pax-huge.tar", pax(b"size", b"9223372036854775807") + member(b"x.png", p(0)) + END
    yield "bad-pax.tar", member(b"PaxHeaders/x", b"9999 path=x\n", kind=b"x") + member(b"x.png", p(0)) + END
    yield "bad-pax-zero.tar", member(b"PaxHeaders/x", b"0 path=x\n", kind=b"x") + member(b"x.png", p(0)) + END
    yield "bad-pax-global.tar", pax(b"path", b"all.png", b"g") + member(b"x.png", p(0)) + END
    yield "bad-sparse.tar", pax(b"GNU.sparse.major", b"1") + member(b"x.png", p(0)) + END
    yield "bad-sparse-gnu.tar", member(b"x.png", p(0), kind=b"S", magic=b"ustar  \0") + END
    yield "bad-long-name.tar", member(b"././@LongLink", b"n" * 5000, kind=b"L") + member(b"x.png", p(0)) + END
    yield "bad-long-end.tar", member(b"././@LongLink", b"n" * 200, kind=b"L") + END
    yield "bad-dots.tar", member(b"../../x.png", p(0)) + END
    yield "bad-dots-inside.tar", member(b"a/../b.png", p(0)) + END
    yield "bad-absolute.tar", member(b"/etc/x.png", p(0)) + END
    yield "bad-control.tar", member(b"x\n.png", p(0)) + END
    yield "bad-no-name.tar", member(b"", p(0)) + END
    yield "bad-symlink.tar", two + header(b"link.png", 0, kind=b"2") + END
    yield "bad-hardlink.tar", two + header(b"link.png", 0, kind=b"1") + END
    yield "bad-device.tar", header(b"null.png", 0, kind=b"3") + END
    yield "bad-fifo.tar", header(b"fifo.png", 0, kind=b"6") + END
    yield "bad-type.tar", header(b"x.png", 0, kind=b"M") + END
    yield "bad-no-end.tar", two
    yield "bad-cut-header.tar", two + header(b"2.png", 9)[:200]
    yield "bad-cut-data.tar", two + header(b"2.png", 900) + b"x" * 400
    yield "bad-behind.tar", two + END + two + END
    yield "bad-gzip.tar", gzip.compress(two + END, 9, mtime=0).ljust(600, b"\0")
    yield "bad-empty.tar", END
    yield "bad-text.tar", b"just some text" * 50
    yield "bad-picture.tar", member(b"x.png", b"<html>404</html>") + END
    yield "bad-cut-picture.tar", member(b"x.png", p(0)[:-20]) + END
    yield "bad-sizes.tar", two + member(b"2.png", saved(picture(5, 4, 1, 2), "PNG")) + END
    yield "bad-label.tar", member(b"a.png", p(0)) + member(b"a.cls", b"cat") + END
    yield "bad-label-huge.tar", member(b"a.png", p(0)) + member(b"a.cls", b"65536") + END
    yield "bad-labels.tar", member(b"a.png", p(0)) + member(b"a.cls", b"1") + member(b"b.png", p(1)) + END
    yield "bad-alone-label.tar", member(b"a.cls", b"1") + member(b"b.png", p(1)) + END
    yield "bad-twice.tar", two + member(b"0.png", p(0)) + END
    yield "bad-two-pictures.tar", member(b"a.png", p(0)) + member(b"a.jpg", jpg(1)) + END
    yield "bad-half-pair.tar", member(b"0.a.png", p(0)) + member(b"1.a.png", p(0)) + member(b"1.b.png", p(1)) + END
    yield "bad-mixed.tar", two + member(b"2.a.png", p(0)) + member(b"2.b.png", p(1)) + END


def label_files():
    """As the fuzz target of labels wants them: labels beside 5 images."""
    good = idx((5,), bytes([3, 0, 1, 9, 2]))
    yield "good", good
    yield "good.gz", gzip.compress(good, 9, mtime=0)
    yield "few", idx((4,), bytes(4))
    yield "short", good[:-1]
    yield "long", good + b"x"
    yield "images", idx((5, 1, 1), bytes(5))
    yield "floats", idx((5,), bytes(20), 0x0D)
    yield "header", good[:6]


def cifar_files():
    """The first byte says whether zeros follow up to the size of a batch."""
    yield "filled", b"\0" + b"\3" + noise(3072, 20) + b"\7" + noise(3072, 21)
    yield "bad-label", b"\0" + b"\3" + noise(3072, 20) + b"\x0a" + noise(100, 21)
    yield "short", b"\1" + b"\3" + noise(3072, 20)
    yield "nothing", b"\1"


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def make_pictures():
    out = []
    for name, data, c, pixels in good_pictures():
        w, h = Image.open(io.BytesIO(data)).size
        assert len(pixels) == w * h * c, name
        out.append(struct.pack("<32s5I", name.encode(), len(data), w, h, c, len(pixels)) + data + pixels)
        write(os.path.join(CORPUS, "data_png" if name.endswith("png") else "data_jpeg", name), data)
    write(os.path.join(HERE, "pictures.bin"), b"GDPC" + struct.pack("<I", len(out)) + b"".join(out))


def print_real(folder):
    """Number of files, and the CRC-32 of all their pixels as Pillow decodes them, in order of the names."""
    for name in ("openmoji-pairs/train openmoji-pairs/val openmoji-pairs/test nuclei-pairs/train nuclei-pairs/val "
                 "nuclei-pairs/test fruit-unpaired/trainA fruit-unpaired/trainB fruit-unpaired/testA "
                 "fruit-unpaired/testB tiles32").split():
        root = os.path.join(folder, name)
        files = [os.path.relpath(os.path.join(d, f), root).encode() for d, _, fs in os.walk(root) for f in fs]
        files = [f for f in sorted(files) if f.lower().endswith((b".png", b".jpg"))]
        images = [Image.open(os.path.join(root.encode(), f)) for f in files]
        channels = 1 if all(im.mode in ("1", "L", "LA") for im in images) else 3
        crc, sizes = 0, {im.size for im in images}
        for im in images:
            crc = zlib.crc32(im.convert("L" if channels == 1 else "RGB").tobytes(), crc)
            im.close()
        (w, h), = sizes
        print('    {"%s", %d, %d, %d, %d, 0x%08x},' % (name, len(files), h, w, channels, crc))


def main():
    if sys.argv[1:2] == ["real"]:
        return print_real(sys.argv[2])
    make_resize()
    make_pictures()
    for folder, files in (("data_png", hostile_png()), ("data_jpeg", hostile_jpeg()), ("data_idx", idx_files()),
                          ("data_tar", tar_files()), ("data_labels", label_files()),
                          ("data_cifar", cifar_files())):
        for name, data in files:
            write(os.path.join(CORPUS, folder, name), data)


if __name__ == "__main__":
    main()
