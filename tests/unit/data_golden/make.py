#!/usr/bin/python3
"""Makes the golden files of the data tests and the seed inputs of its fuzz targets.

    python3 tests/unit/data_golden/make.py                   (needs Pillow: Debian package python3-pil)
    python3 tests/unit/data_golden/make.py real DATA_FOLDER  prints the table of tests/unit/data_real.c

Committed with what it makes (Pillow 9.4.0), so that the tests need no Python.
  resize.bin      Pillow's Image.resize(BILINEAR), and Resize + CenterCrop as torchvision does them
  pictures.bin    small PNG and JPEG files with the pixels that Pillow decodes
  ../../fuzz/corpus/data_{png,jpeg,idx}/    the same files, and hostile ones
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
    (1, 33, 65, 16, 65), (1, 61, 67, 60, 66), (3, 48, 48, 48, 48),
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
    out = [b"GDRS", struct.pack("<I", len(RESIZE) + len(FIT))]
    for seed, (c, w, h, ow, oh) in enumerate(RESIZE):
        made = picture(w, h, c, seed).resize((ow, oh), Image.BILINEAR)
        out += [struct.pack("<7I", 0, seed, c, w, h, ow, oh), made.tobytes()]
    for i, (c, w, h, size) in enumerate(FIT):
        seed = 100 + i
        out += [struct.pack("<7I", 1, seed, c, w, h, size, size), fit(picture(w, h, c, seed), size).tobytes()]
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
    for folder, files in (("data_png", hostile_png()), ("data_jpeg", hostile_jpeg()), ("data_idx", idx_files())):
        for name, data in files:
            write(os.path.join(CORPUS, folder, name), data)


if __name__ == "__main__":
    main()
