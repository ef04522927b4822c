"""Settings of a fit."""

from dataclasses import dataclass, field
from typing import Literal

from phdenoise.denoising.config import DenoiseConfig


@dataclass(frozen=True)
class FitConfig:
    """How to fit a law."""

    joint: bool = False
    """Fit law, initial field and denoiser together to the raw movie (otherwise: the movie at face value)."""
    enthalpy_degree: int = 5
    """Highest Legendre degree of the enthalpic part of mu_h."""
    mobility_degree: int = 6
    """Highest Legendre degree of ln D."""
    mobility_base: Literal["constant", "degenerate"] = "constant"
    """What the Legendre series of ln D multiplies: 1, or c(1-c)."""
    prior: Literal["evidence", "weak"] = "evidence"
    """What holds the bends of mu_h and the shape of ln D: evidence (as strongly as the movie says), weak."""
    boundary: str = "auto"
    """Edges of the frame: auto, periodic, no-flux, open (the measured rim drives the inside), held or fed; or by face, as "left=held:0.9,right=open" (a number is known, else it is fitted; faces not named are auto). auto: what the file says, else periodic where opposite edges continue each other, else by the evidence of the data near each face."""
    concentration: Literal["auto", "as-is", "scaled"] = "auto"
    """Intensity to lithium fraction: as-is (already a fraction), scaled (robust range to 0.05..0.95), auto."""
    concentration_range: tuple[float, float] | None = None
    """Intensities of c = 0 and c = 1 [intensity unit]; overrides `concentration`."""
    first_frame: int = -1
    """First frame used [index]; -1: where the contrast has developed."""
    max_frames: int = 64
    """Most frames used, from the first on."""
    max_side: int = 128
    """Longest side of the fitted grid [px]; larger frames are binned by a whole factor first."""
    windows: int = 4
    """Stretches for multiple shooting (face-value fit)."""
    window_frames: int = 10
    """Frames per stretch after its start (face-value fit)."""
    substeps: int = 0
    """Solver steps per frame interval; 0: chosen for `solver_tolerance`."""
    solver_tolerance: float = 3e-4
    """Relative error of the solver over one frame interval, for choosing `substeps`."""
    iterations: int = 30
    """Most Levenberg-Marquardt iterations per stage."""
    tolerance: float = 1e-4
    """Relative decrease of the cost at which the face-value fit has converged."""
    field_waves: int = 16
    """Waves an axis that correct the denoised initial field (joint fit); the cost grows with their square."""
    network_steps: int = 10
    """Gradient steps of the whole joint loss on the network (joint fit); 0 keeps it as trained."""
    schedule: Literal["alternating", "simultaneous"] = "alternating"
    """Joint fit: alternating (Gauss-Newton on law and field, then gradient steps on the network), or simultaneous (one optimiser on all three)."""
    simultaneous_steps: int = 300
    """Gradient steps of the simultaneous schedule."""
    uncertainty: Literal["laplace", "profile", "bootstrap", "nuts"] = "laplace"
    """Bands: laplace (curvature at the optimum), profile (likelihood), bootstrap (resampled residuals), nuts (needs blackjax)."""
    draws: int = 0
    """Resampled fits, or samples of each of two NUTS chains; 0: 60 or 300."""
    precision: Literal["float32", "float64"] = "float64"
    """Arithmetic of the solver."""
    seed: int = 0
    """Seed of the crops on which the joint fit adjusts the network, and of bootstrap and NUTS."""
    denoise: DenoiseConfig = field(default_factory=DenoiseConfig)
    """How to denoise first (joint fit)."""
