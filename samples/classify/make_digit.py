# SPDX-License-Identifier: Apache-2.0
"""Writes seven.jpg: an image of samples/digits as a picture of 64 x 64.

  python3 make_digit.py [OUTDIR]      needs numpy and Pillow
"""
import pathlib
import sys

import numpy as np
from PIL import Image

here = pathlib.Path(__file__).parent
images = np.load(here.parent / "digits" / "images.npy")
pixels = np.rint(images[14, 0] * (255 / 16)).clip(0, 255).astype(np.uint8)   # two of each digit
out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else here)
Image.fromarray(pixels, "L").resize((64, 64), Image.NEAREST).save(out / "seven.jpg", quality=90)
