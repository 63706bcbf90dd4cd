"""montage.py OUT PICTURE... -- CAPTION...: pictures side by side, each with its caption above (python3-pil)."""
import sys

from PIL import Image, ImageDraw

out, rest = sys.argv[1], sys.argv[2:]
split = rest.index("--")
pictures = [Image.open(path).convert("RGB") for path in rest[:split]]
captions = rest[split + 1:]
SIDE, GAP, TEXT = 288, 8, 18
scaled = []
for picture in pictures:
    factor = SIDE / picture.height
    kind = Image.NEAREST if factor > 1 else Image.BOX
    scaled.append(picture.resize((max(1, round(picture.width * factor)), SIDE), kind))
width = sum(p.width for p in scaled) + GAP * (len(scaled) + 1)
sheet = Image.new("RGB", (width, SIDE + TEXT + 2 * GAP), "white")
draw = ImageDraw.Draw(sheet)
x = GAP
for picture, caption in zip(scaled, captions):
    draw.text((x, GAP // 2), caption, fill="black")
    sheet.paste(picture, (x, TEXT + GAP))
    x += picture.width + GAP
sheet.save(out, optimize=True)
