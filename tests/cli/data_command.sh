# gandist data: what it lists, checks, writes and packs, on sets that are made here; and sets that cannot be trained on.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tiny_recipe tiny.yaml

# A picture set of one domain comes out of the synthetic source, pairs and two domains likewise.
run 0 g data list; says "edges2fashion"; says "made in memory"; says "data.path needed"
run 0 bash -c '"$GANDIST_BIN" data list --json | python3 -c "import json,sys; print(len([json.loads(l) for l in sys.stdin]))"'
[ "$out" -ge 19 ] || fail "only $out sources"
run 0 g data derive synthetic --size 16 --count 40 --out one; is_file one/train-images-idx3-ubyte; is_file one/test-images-idx3-ubyte
run 0 g data derive synthetic-pairs --size 16 --count 40 --out two; is_file two/train/000039.png; is_file two/test/000039.png
run 73 g data derive synthetic --size 16 --count 40 --out one; says "is there already"
run 0 g data check one; says "idx: 40 images 16x16x3"; says "idx, test half"; says "bad 0"
run 0 g data check two; says "pairs: 40 images 16x16x3 with 40 images 16x16x3"; says "decoded 80, bad 0"
run 0 g data pack two/train --out shard.tar; says "40 samples"
run 0 g data check shard.tar --json; says '"samples":40,"bad":0'
run 0 tar tf shard.tar; says "000039.png"
run 73 g data pack two/train --out shard.tar
run 0 g tiny.yaml --out run --steps 2 --set data.source=tar --set data.path=shard.tar --set data.count=0

# Damage inside of a file is found, counted, and named.
python3 - <<'PY'
p = "two/train/000007.png"
b = bytearray(open(p, "rb").read())
b[len(b) // 2] ^= 1
open(p, "wb").write(b)
PY
run 65 g data check two; says "bad 2"; says "two/train/000007.png: damaged PNG"; says "2 samples cannot be decoded"
run 65 g data pack two/train --out other.tar; says "000007.png"
[ ! -e other.tar ] && [ ! -e other.tar.partial ] || fail "a part of an archive was left"

# The command line.
run 64 g data; says "usage"
run 64 g data chek one; says "did you mean 'check'"
run 64 g data check; says "of what"
run 64 g data derive synthetic; says "--out"
run 64 g data pack two; says "--out"
run 64 g data list all; says "takes no argument"
run 64 g data check one --path two; says "--path"
run 66 g data check nowhere; says "nowhere"
run 69 g data derive ring --out points; says "points"

# Sets of two domains that cannot be trained on, before step 0.
bad() { # CODE TEXT source path recipe
    run "$1" timeout 20 "$GANDIST_BIN" "$GANDIST_SOURCE_DIR/recipes/$5.yaml" --out r --steps 2 --set data.source="$3" --set data.path="$4"
    says "$2"
}
mkdir -p only/trainA void/trainA void/trainB lone/A lone/B odd
cp two/test/000000.png only/trainA; cp two/test/000000.png void/trainA
cp two/test/000000.png two/test/000001.png lone/A; cp two/test/000000.png lone/B
python3 - <<'PY'
import struct, zlib
chunk = lambda k, d: struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d))
open("odd/a.png", "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 7, 4, 8, 0, 0, 0, 0)) +
                              chunk(b"IDAT", zlib.compress((b"\0" + b"\1" * 7) * 4)) + chunk(b"IEND", b""))
PY
bad 65 "trainA is there, but no trainB" unpaired only cyclegan
bad 65 "domain B (domain A has 1 pictures)" unpaired void discogan
bad 65 "1 picture without a partner: 000001.png (A)" pairs lone pix2pix
bad 65 "7 pixels wide, which is odd" pairs odd pix2pix
bad 66 "nowhere: does not exist" tar nowhere dcgan
finish
