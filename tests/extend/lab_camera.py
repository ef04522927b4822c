"""Movies of a camera that writes one line of text, `T Y X SECONDS MICROMETRES`, and then its counts."""

import numpy as np

from phdenoise import InputError
from phdenoise.io import Source


def read_dump(path, dataset):
    """The movie in a .dump file."""
    with path.open("rb") as file:
        words = file.readline().split()
        if len(words) != 5:
            raise InputError(f"{path} has no header: copy it again.")
        counts = np.fromfile(file, "<u2")
    t, y, x = (int(word) for word in words[:3])
    if counts.size != t * y * x:
        raise InputError(f"{path} is truncated: copy it again.")
    return Source(
        counts.reshape(t, y, x),
        frame_interval=float(words[3]),
        time_unit="s",
        pixel_size=(float(words[4]), float(words[4])),
        length_unit="um",
    )
