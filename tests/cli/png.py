"""Pictures for the tests, without any library.  png.py make FILE WIDTH HEIGHT CHANNELS SEED | png.py size FILE
| png.py same A B (equal pixels, whatever else the files hold) | png.py near A B LEVELS (as far apart at most; prints how far)"""
import struct
import sys
import zlib


def make(path, width, height, channels, seed):
    rows = b"".join(b"\0" + bytes((x * seed + y * 7 + c * 50) % 256 for x in range(width) for c in range(channels))
                    for y in range(height))

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def chunks(path):
    data, at = open(path, "rb").read(), 8
    while at < len(data):
        (n,) = struct.unpack(">I", data[at:at + 4])
        yield data[at + 4:at + 8], data[at + 8:at + 8 + n]
        at += 12 + n


def pixels(path):
    parts = list(chunks(path))
    return dict(parts)[b"IHDR"], zlib.decompress(b"".join(body for kind, body in parts if kind == b"IDAT"))


def levels(path):
    """Header, and the bytes of all lines with their filters undone."""
    head, data = pixels(path)
    width, height, _, colour = struct.unpack(">IIBB", head[:10])
    step = {0: 1, 2: 3}[colour]
    line, out = bytearray(width * step), []
    for y in range(height):
        at = y * (width * step + 1)
        kind, now = data[at], bytearray(data[at + 1:at + 1 + width * step])
        for x in range(len(now)):
            a, b, c = now[x - step] if x >= step else 0, line[x], line[x - step] if x >= step else 0
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            now[x] = (now[x] + (0, a, b, (a + b) // 2, paeth)[kind]) & 255
        out.append(now)
        line = now
    return head, b"".join(out)


command, args = sys.argv[1], sys.argv[2:]
if command == "make":
    make(args[0], *map(int, args[1:]))
elif command == "size":
    width, height, _, colour = struct.unpack(">IIBB", pixels(args[0])[0][:10])
    print(width, height, {0: 1, 2: 3}[colour])
elif command == "same":
    sys.exit(pixels(args[0]) != pixels(args[1]))
elif command == "near":
    (head_a, a), (head_b, b) = levels(args[0]), levels(args[1])
    assert head_a == head_b, "other sizes"
    apart = max(abs(x - y) for x, y in zip(a, b))
    print(apart)
    sys.exit(apart > int(args[2]))
else:
    sys.exit(__doc__)
