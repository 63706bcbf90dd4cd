"""montage.py OUT PICTURE... -- CAPTION...: pictures in rows, each with its caption above (python3-pil)."""
import sys

from PIL import Image, ImageDraw

out, rest = sys.argv[1], sys.argv[2:]
split = rest.index("--")
pictures = [Image.open(path).convert("RGB") for path in rest[:split]]
captions = rest[split + 1:]
SIDE, GAP, TEXT, WIDEST = 288, 8, 18, 1200


def fit(picture):
    factor = min(SIDE / picture.height, (WIDEST - 2 * GAP) / picture.width)
    kind = Image.NEAREST if factor > 1 else Image.BOX
    return picture.resize((max(1, round(picture.width * factor)), max(1, round(picture.height * factor))), kind)


x, y, height, width, places = GAP, GAP, 0, 0, []
pictures = [fit(p) for p in pictures]
for picture in pictures:
    if x > GAP and x + picture.width + GAP > WIDEST:
        x, y, height = GAP, y + height + TEXT + GAP, 0
    places.append((x, y))
    x, height = x + picture.width + GAP, max(height, picture.height)
    width = max(width, x)
sheet = Image.new("RGB", (width, y + height + TEXT + GAP), "white")
draw = ImageDraw.Draw(sheet)
for picture, caption, (x, y) in zip(pictures, captions, places):
    draw.text((x, y), caption, fill="black")
    sheet.paste(picture, (x, y + TEXT))
sheet.save(out, optimize=True)
