"""Pictures for the tests, without any library.  png.py make FILE WIDTH HEIGHT CHANNELS SEED | png.py size FILE
| png.py same A B (equal pixels, whatever else the files hold)"""
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


command, args = sys.argv[1], sys.argv[2:]
if command == "make":
    make(args[0], *map(int, args[1:]))
elif command == "size":
    width, height, _, colour = struct.unpack(">IIBB", pixels(args[0])[0][:10])
    print(width, height, {0: 1, 2: 3}[colour])
elif command == "same":
    sys.exit(pixels(args[0]) != pixels(args[1]))
else:
    sys.exit(__doc__)
