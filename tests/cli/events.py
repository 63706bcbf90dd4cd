"""An independent reader of TensorBoard event files: checks framing and checksums, prints what is inside.

    events.py DIR   ->   one line a file: first step, steps with scalars, tags, images
"""
import os
import struct
import sys


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283
assert masked(b"\x1a\x11CRC test, one two") == 0x5794D08A


def records(path):
    data = open(path, "rb").read()
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        assert struct.unpack_from("<I", data, at + 8)[0] == masked(data[at:at + 8]), "checksum of a length"
        body = data[at + 12:at + 12 + length]
        assert len(body) == length, "a record is cut short"
        assert struct.unpack_from("<I", data, at + 12 + length)[0] == masked(body), "checksum of a record"
        yield body
        at += length + 16


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            size, form = {1: (8, "<d"), 5: (4, "<f")}[kind]
            value, at = struct.unpack_from(form, data, at)[0], at + size
        yield key >> 3, value


def main(folder):
    for name in sorted(os.listdir(folder)):
        assert "tfevents" in name, name
        start, steps, tags, images = None, [], set(), []
        for number, body in enumerate(records(os.path.join(folder, name))):
            event = dict(fields(body))
            if number == 0:
                assert event[3] == b"brain.Event:2", event
                continue
            step = event.get(2, 0)
            if 7 in event:
                start = step
                assert dict(fields(event[7])) == {1: 1}, event
                continue
            for key, value in fields(event[5]):
                assert key == 1
                value = dict(fields(value))
                tags.add(value[1].decode())
                if 4 in value:
                    image = dict(fields(value[4]))
                    assert image[4].startswith(b"\x89PNG"), image
                    assert struct.unpack(">II", image[4][16:24]) == (image[2], image[1]), image
                    images.append(step)
                elif step not in steps:
                    steps.append(step)
        print("start %s scalars %s images %s tags %s" % (start, steps, images, sorted(tags)))


main(sys.argv[1])
