"""Denoisers on real recordings: against left-out repeats, and uPSNR against a published denoiser's own output.

    python benchmarks/denoise_real.py --methods gaussian svd nlm --data ../shared/data
    python benchmarks/denoise_real.py --methods ours-quick ours-default --stacks tem fluorescence

Repeats: a denoiser gets every other exposure of a scene at rest; its output f_i is compared with the mean r_i of
the exposures before and after, which it has not seen,

    error = mean[(f − r)²] − var(r),    var(r) = mean[(y₋ − 2y + y₊)²]/12

unbiased for the squared error, also when the scene drifts steadily, and given against that of the noisy frames. All
are brought to one sum first: beam, lamp and exposure time vary from frame to frame. The beam's profile may vary as well, which is
then no error of whoever shows it: the second figure is of differences whose part that is smooth over 20 px is taken away, of
f − r as of y₋ − 2y + y₊. Fixed-pattern noise counts as scene.
Movies: uPSNR by `umse_temporal` over interior frames, for
outputs that use the pixel's own measurement with their weight of it measured by a probe or known from the posterior. Saturated
pixels do not count; where the noise estimate finds motion, the noise is that of the finest structure, the same for all.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.metrics.unsupervised import umse_temporal, upsnr
from phdenoise.movie import Movie
from phdenoise.networks.classical import autocorrelation, classical
from phdenoise.noise.estimate import NoiseEstimate, estimate_noise
from phdenoise.noise.spots import saturated
from phdenoise.types import InputError

# Noise that is added to find a method's weight of the pixel's own measurement [noise sd]: small, so that the method
# stays linear.
STEP = 0.05
# Gaussian width above which a difference is taken for a change of the beam's profile [px]; chosen.
PROFILE = 20.0
CLASSICAL = ("mean", "gaussian", "svd", "nlm", "bm4d")
# Stacks of one scene at rest: file, array and the frames that are repeats.
REPEATS = {
    "neutron-static": ("neutron_open_beam", "static", slice(None)),
    "xray-flat": ("txm_nca_8324eV", "flat", slice(None)),
    "beads": ("fluorescent_beads_static", "frames", slice(None)),
    "stxm-pre-edge": ("stxm_fe_l_edge", "absorption", slice(0, 13)),
}
# Movies with the published result in the same file.
MOVIES = {"tem": "tem_pt_ceo2", "fluorescence": "fluorescence_nuclei"}


def load(folder: Path, stem: str, key: str) -> np.ndarray:
    """One array of an archive as float32."""
    with np.load(folder / f"{stem}.npz", allow_pickle=False) as archive:
        return archive[key].astype(np.float32)


def run(method: str, frames: np.ndarray, estimate: NoiseEstimate) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of one method; noise as estimated from the frames alone."""
    if method == "noisy":
        return frames, np.asarray(estimate.model.variance(frames))
    if method.startswith("ours-"):
        found = denoise(
            Movie.from_array(frames), DenoiseConfig(preset=method.removeprefix("ours-"))
        )
        return found.mean, found.variance
    along = estimate.correlation
    rho = autocorrelation(along["x"], along["y"])
    rho = None if np.all(rho == np.eye(1)) or rho.sum() == 1 else rho
    if method == "bm4d" and not hasattr(np, "trapz"):
        rho = None
    mean, var = classical(method, frames, np.isfinite(frames), estimate.model, rho)
    return np.asarray(mean), np.asarray(var)


def repeats(name: str, folder: Path, methods: list[str]) -> None:
    """Print the error of every method against the left-out half of the repeats."""
    stem, key, chosen = REPEATS[name]
    stack = load(folder, stem, key)[chosen]
    seen = stack[0::2]
    noise = estimate_noise(seen)
    print(f"\n{name}: {seen.shape} of {len(stack)} seen. {' '.join(noise.sentences)}")
    total = stack.sum((1, 2), dtype=np.float64).mean()

    def levelled(a: np.ndarray) -> np.ndarray:
        return a * (total / a.sum((1, 2), keepdims=True, dtype=np.float64))

    y = levelled(stack)
    inner = [i for i in range(len(seen)) if 0 < 2 * i < len(stack) - 1]
    centre = 2 * np.asarray(inner)
    reference = (y[centre - 1] + y[centre + 1]) / 2
    own = y[centre - 1] - 2 * y[centre] + y[centre + 1]

    print(f"  {_of_the_profile(y)}")

    def errors(estimate: np.ndarray) -> np.ndarray:
        off = levelled(estimate)[inner] - reference
        return np.array(
            [_power(off) - _power(own) / 12, _power(_fine(off)) - _power(_fine(own)) / 12]
        )

    floor = errors(seen)
    for method in methods:
        timed(method, seen, noise, lambda mean, var: _against(errors(mean), var, floor))


def _of_the_profile(frames: np.ndarray) -> str:
    """How the profile changes, seen and left-out exposures in turn."""
    smooth = ndimage.gaussian_filter(frames, (0, PROFILE, PROFILE)).reshape(len(frames), -1)
    modes, size, _ = np.linalg.svd(smooth - smooth.mean(0), full_matrices=False)
    share = size[0] ** 2 / np.sum(size**2)
    course = modes[:, 0] * size[0] / np.sqrt(smooth.shape[1])
    amplitudes = [" ".join(f"{a:.3g}" for a in course[k::2]) for k in (0, 1)]
    return (
        f"Profile: one mode has {100 * share:.0f} % of its change, sd over the frame {amplitudes[0]} in the exposures seen, "
        f"{amplitudes[1]} in those left out."
    )


def _power(a: np.ndarray) -> float:
    return float(np.mean(a.astype(np.float64) ** 2))


def _fine(a: np.ndarray) -> np.ndarray:
    """Without the profile of each frame."""
    fine: np.ndarray = a - ndimage.gaussian_filter(a, (0, PROFILE, PROFILE))
    return fine


def _against(errors: np.ndarray, var: np.ndarray, noisy: np.ndarray) -> str:
    gains = [
        f"{10 * np.log10(n / e):6.2f} dB" if e > 0 else "   inf dB"
        for e, n in zip(errors, noisy, strict=True)
    ]
    whole, fine = (f"{e:11.5g} = noisy / {g}" for e, g in zip(errors, gains, strict=True))
    return f"squared error {whole}   without profile {fine}   predicted {float(var.mean()):11.5g}"


def movie(name: str, folder: Path, methods: list[str]) -> None:
    """Print uPSNR of the published output and of every method."""
    frames, published = (load(folder, MOVIES[name], key) for key in ("noisy", "udvd"))
    good = ~saturated(frames, np.isfinite(frames))
    # The published frames have a grey scale of their own: back to the movie's by least squares.
    line = np.polyfit(published[good].astype(float), frames[good], 1)
    published = np.polyval(line, published).astype(np.float32)
    noise = estimate_noise(frames)
    span = float(np.ptp(np.quantile(published, [0.001, 0.999])))

    def score(estimate: np.ndarray, weight: np.ndarray | float) -> str:
        error = umse_temporal(estimate, frames, weight, good, noise.finest())
        found = upsnr(error, span)
        return (
            f"uPSNR {found.psnr:6.2f} ± {found.sd:.2f} dB   uMSE {float(error.mse):8.4g} "
            f"± {float(error.sd):.2g}   {found.caution}"
        )

    print(f"\n{name}: {frames.shape}. {' '.join(noise.sentences)}")
    print(f"{'published UDVD':16s} {score(published, 0.0)}   (blind: own weight 0)")

    def judge(mean: np.ndarray, var: np.ndarray, method: str) -> str:
        own = np.asarray(noise.model.variance(mean))
        # A posterior's variance over the noise's is its weight of the pixel's own measurement.
        weight = (
            np.clip(var / own, 0, 1)
            if method.startswith("ours-")
            else _weight(method, frames, noise, mean)
        )
        return score(mean, weight)

    for method in methods:
        if method != "noisy":
            timed(method, frames, noise, lambda m, v, method=method: judge(m, v, method))


def _weight(method: str, frames: np.ndarray, noise: NoiseEstimate, mean: np.ndarray) -> float:
    """Mean of ∂f/∂y, weighed by the noise's variance, from the change that a little of such noise makes."""
    sd = np.sqrt(np.asarray(noise.model.variance(mean)))
    probe = sd * np.random.default_rng(0).standard_normal(frames.shape).astype(np.float32)
    moved, _ = run(method, frames + np.float32(STEP) * probe, noise)
    return float(np.mean(probe * (moved - mean)) / STEP / np.mean(sd**2))


def timed(
    method: str,
    frames: np.ndarray,
    noise: NoiseEstimate,
    judge: Callable[[np.ndarray, np.ndarray], str],
) -> None:
    """Run one method and print its line; a method that cannot run says why."""
    start = time.perf_counter()
    try:
        mean, var = run(method, frames, noise)
    except InputError as error:
        print(f"{method:16s} {error}")
        return
    seconds = time.perf_counter() - start
    print(f"{method:16s} {judge(mean, var)}   {seconds:7.1f} s", flush=True)


def main() -> None:
    """Parse the command line and print one table a recording."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PHDENOISE_DATA", here)))
    parser.add_argument("--stacks", nargs="*", default=[*REPEATS, *MOVIES])
    parser.add_argument("--methods", nargs="*", default=["noisy", *CLASSICAL, "ours-default"])
    args = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name in args.stacks:
        (repeats if name in REPEATS else movie)(name, args.data, args.methods)


if __name__ == "__main__":
    main()
