# Bad data sets get the message the catalogue promises: path, what was found, what was expected.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tiny_recipe tiny.yaml
bad() { # bad CODE TEXT source path [more options]
    local code=$1 text=$2 source=$3 path=$4
    shift 4
    run "$code" timeout 20 "$GANDIST_BIN" tiny.yaml --out r --steps 2 --set data.source="$source" --set data.path="$path" --set data.count=0 "$@"
    says "$text"
}
bytes() { python3 -c "import sys; sys.stdout.buffer.write($1)"; }
bad 66 "nowhere" folder nowhere
mkdir empty text short html zero fifo few
bad 65 "0 images" folder empty
echo hello >text/a.txt; bad 65 "supported" folder text
bytes 'b"\x89PNG\r\n\x1a\n" + b"\x00" * 20' >short/a.png; bad 65 "short/a.png" folder short
echo '<html>' >html/a.jpg; bad 65 "<html" folder html
: >zero/a.png; bad 65 "zero/a.png" folder zero
mkfifo fifo/a.png; bad 65 "fifo" folder fifo
bad 66 "nothing.idx" idx nothing.idx
bytes 'b"\x00\x00\x08\x03" + (5).to_bytes(4,"big") + (28).to_bytes(4,"big")*2 + b"\x00"*100' >short.idx; bad 65 "short.idx" idx short.idx
bytes 'b"\x00\x00\x0d\x03" + (5).to_bytes(4,"big") + (28).to_bytes(4,"big")*2 + b"\x00"*3920' >type.idx; bad 65 "type.idx" idx type.idx
bytes 'b"\x12\x34\x56\x78" + b"\x00"*100' >magic.idx; bad 65 "magic.idx" idx magic.idx
bytes 'b"\x00\x00\x08\x03" + (5).to_bytes(4,"big") + (28).to_bytes(4,"big")*2 + b"\x00"*4000' >long.idx; bad 65 "long.idx" idx long.idx
bytes 'b"\x00\x00\x08\x03" + (5).to_bytes(4,"big") + (28).to_bytes(4,"big")*2 + b"\x00"*3920' >few.idx; bad 65 "5 samples" idx few.idx
bad 64 "did you mean 'synthetic'" synthetik nowhere
finish
