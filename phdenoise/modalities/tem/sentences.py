"""What the images say, in sentences for a reader; verdicts stand before numbers."""

import numpy as np

from phdenoise.modalities.tem.result import TemResult
from phdenoise.modalities.tem.surface import spacing


def sentences(result: TemResult) -> tuple[str, ...]:
    """Sentences of a result.

    Args:
        result: of the chain.

    Returns:
        Claims on atoms first, then columns, positions, strain and rates.
    """
    # Of images that are impossible nothing is claimed.
    parts = (_columns,) if result.impossible else (_claims, _columns, _strain, _movie)
    return tuple(s for part in parts for s in part(result))


def _claims(result: TemResult) -> list[str]:
    test, said = result.test, list(result.verdicts)
    if not said:
        return ["There is no surface whose atoms could be judged."]
    numbers = {name: said.count(name) for name in ("present", "absent", "cannot tell")}
    level = f"{100 * test.level:g} %"
    frames = len(result.counts)
    found = [
        f"Of {len(said)} sites at the surface, a column is present at {numbers['present']} and absent at {numbers['absent']}; "
        f"{numbers['cannot tell']} cannot be told. At most {level} of the claims are expected to be false."
    ]
    single, power = np.median(result.single.power), np.median(test.power)
    name = "this image" if frames == 1 else f"the sum of {frames} frames"
    found.append(
        f"A column of the usual height that is there is found at {100 * power:.0f} % of the sites of {name} at a false-alarm "
        f"rate of {level} a site, and at {100 * np.median(test.map_power):.0f} % if one false alarm in the whole map is to be "
        f"as rare as that."
    )
    if frames > 1:
        found.append(f"In one frame by itself it is found at {100 * single:.0f} % of the sites.")
    if power < 0.8:
        found.append(
            "This dose cannot tell a single column of the surface from vacuum: sum more frames."
        )
    return found


def _columns(result: TemResult) -> list[str]:
    columns, size, beside = result.columns, result.pixel_size, len(result.fringes)
    if not len(columns.position):
        return ["No atomic columns were found: what there is, noise could have made."]
    sd = 100 * size * float(np.sqrt(np.mean(columns.position_sd**2)))
    kind = "brighter" if columns.sign > 0 else "darker"
    return [
        f"{len(columns.position)} atomic columns, {kind} than their surroundings, {spacing(columns.position) * size:.2f} Å apart; "
        f"{int(result.surface.sum())} of them at the surface.",
        *[
            f"{beside} spot(s) beside them are far weaker than the columns inside, as fringes of a defocused edge are: nothing is "
            "claimed of them, and a column of a few atoms may be among them."
        ]
        * (beside > 0),
        f"Their positions have errors of {sd:.1f} pm along each axis (root mean square).",
        f"A search of vacuum of this size and dose finds {result.hidden} false columns.",
        f"Dose {result.dose:.3g} e/Å² a frame, {result.dose * len(result.counts):.3g} e/Å² in all; {result.vacuum:.3g} electrons in a "
        f"vacuum pixel of {size:.3g} Å.",
    ]


def _strain(result: TemResult) -> list[str]:
    lattice = result.lattice
    if lattice is None:
        return []
    a, b = lattice.vectors
    lengths = result.pixel_size * np.hypot(*lattice.vectors.T)
    cosine = np.dot(a, b) / np.hypot(*a) / np.hypot(*b)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    found = [
        f"{int(lattice.member.sum())} columns lie on one lattice with vectors of {lengths[0]:.3f} and {lengths[1]:.3f} Å at {angle:.1f}°."
    ]
    known = np.isfinite(lattice.strain[:, 0])
    if known.any():
        spread = np.sqrt(np.mean(lattice.strain[known] ** 2))
        noise = np.sqrt(np.mean(lattice.strain_sd[known] ** 2))
        verdict = "more than" if spread > 1.2 * noise else "no more than"
        found.append(
            f"Strain varies by {100 * spread:.2f} %, {verdict} the errors of the positions explain ({100 * noise:.2f} %)."
        )
    return found


def _movie(result: TemResult) -> list[str]:
    found: list[str] = []
    if result.tracks is not None:
        moved = result.pixel_size * np.ptp(result.tracks.drift, axis=0)
        found.append(
            f"The scene drifts over {moved[0]:.2f} and {moved[1]:.2f} Å along y and x; a column is seen in "
            f"{100 * float(result.tracks.seen.mean()):.0f} % of the frames."
        )
    if result.rates is not None:
        found += result.rates.sentences(result.movie.time_unit)
    return found
