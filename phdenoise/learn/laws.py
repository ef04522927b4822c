"""The family of laws a fit searches, as a flat parameter vector with names, priors and curves.

    ∂c/∂t = ∇·( D(c) ∇[ μ_h(c) − κ ∇²c ] ),   μ_h = ln(c/(1−c)) + Σₙ pₙ Pₙ(2c−1),   ln D = Σₙ qₙ Pₙ(2c−1)

θ = (p₁..p_N, q₀..q_M, ln κ) for Cahn-Hilliard, (q₀..q_M) for Fickian diffusion. p₀ shifts μ_h by a
constant that no movie of a conserved field can show, so it is fixed at zero and curves are given relative
to c = 1/2. In the Allen-Cahn law

    ∂c/∂t = −M(c) [ μ_h(c) − κ ∇²c ],   ln M = Σₙ qₙ Pₙ(2c−1)

p₀ is the driving force, θ = (p₀..p_N, q₀..q_M, ln κ), and μ_h is given as it is.

The fit works in pixels and frames; `Units` carries results back to the movie's own units.
Parametrisation: Zhao et al., Phys. Rev. Lett. 124, 060201 (2020), doi:10.1103/PhysRevLett.124.060201.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.physics import (
    AllenCahn,
    CahnHilliard,
    Fickian,
    LegendreEnthalpy,
    LegendreMobility,
)

ModelName = Literal["cahn-hilliard", "fickian", "allen-cahn"]
MODELS: tuple[ModelName, ...] = get_args(ModelName)


class LawPrior(NamedTuple):
    """Gaussian prior of θ: its centre [p] and standard deviations [p]."""

    centre: np.ndarray
    sd: np.ndarray


@dataclass(frozen=True)
class LawSpace:
    """Which coefficients are free. Hashable, so it is a static argument of jitted functions."""

    model: ModelName = "cahn-hilliard"
    enthalpy_degree: int = 5
    mobility_degree: int = 5
    mobility_base: Literal["constant", "degenerate"] = "constant"

    @property
    def lowest(self) -> int:
        """Degree of the first enthalpic coefficient: 0 where a constant of μ_h moves the field."""
        return 0 if self.model == "allen-cahn" else 1

    @property
    def enthalpies(self) -> int:
        """Number of enthalpic coefficients."""
        return 0 if self.model == "fickian" else self.enthalpy_degree + 1 - self.lowest

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the components of θ, in order."""
        mobility = tuple(f"q_{n}" for n in range(self.mobility_degree + 1))
        if self.model == "fickian":
            return mobility
        enthalpy = tuple(f"p_{n}" for n in range(self.lowest, self.enthalpy_degree + 1))
        return (*enthalpy, *mobility, "ln_kappa")

    @property
    def mobility_letter(self) -> str:
        """What the series q is the logarithm of: D, or the M of a law that conserves nothing."""
        return "M" if self.model == "allen-cahn" else "D"

    @property
    def size(self) -> int:
        """Number of free parameters."""
        return len(self.names)

    def build(self, theta: Float[Array, " p"]) -> CahnHilliard | Fickian | AllenCahn:
        """The model at θ, its leaves differentiable functions of θ (pixel and frame units)."""
        mobility_size = self.mobility_degree + 1
        if self.model == "fickian":
            return Fickian(LegendreMobility(theta, base=self.mobility_base))
        p, q, log_kappa = jnp.split(theta, [self.enthalpies, theta.shape[0] - 1])
        assert q.shape[0] == mobility_size
        mobility = LegendreMobility(q, base=self.mobility_base)
        if self.model == "allen-cahn":
            return AllenCahn(LegendreEnthalpy(p), mobility, jnp.exp(log_kappa[0]))
        enthalpy = LegendreEnthalpy(jnp.concatenate([jnp.zeros_like(p[:1]), p]))
        return CahnHilliard(enthalpy, mobility, jnp.exp(log_kappa[0]))

    def start(self, mobility: float, kappa: float, omega: float) -> np.ndarray:
        """θ of a regular solution with constant mobility [px²/frame, or 1/frame], κ [px²] and Ω [kT]."""
        theta = np.zeros(self.size)
        names = self.names
        scale = 4.0 if self.mobility_base == "degenerate" else 1.0
        theta[names.index("q_0")] = np.log(scale * mobility)
        if self.model != "fickian":
            theta[names.index("p_1")] = -omega
            theta[names.index("ln_kappa")] = np.log(kappa)
        return theta

    def move(self, theta: np.ndarray, step: np.ndarray) -> np.ndarray:
        """θ after a step of a descent, which may be long.

        With uₙ = D₀ (pₙ + eₙ), eₙ the series of the entropy, the direction that a movie hardly shows (D against
        μ_h and κ) is straight in (u, ln D, ln κ) and strongly curved in θ, where Gauss-Newton steps would be
        short. To first order this is θ + step; D and κ stay positive however long it is.
        """
        moved = np.array(theta + step, float)
        if self.model == "fickian":
            return moved
        n = self.enthalpies
        scale = step[self.names.index("q_0")]
        whole = (theta[:n] + self._entropy()) * (1 + scale) + step[:n]
        moved[:n] = whole * np.exp(-scale) - self._entropy()
        return moved

    def spread(self, theta: np.ndarray, step: np.ndarray) -> np.ndarray:
        """θ after one of its errors (or many [..., p]), along the curve on which D₀, D₀ pₙ and D₀ κ change in proportion.

            D₀' = D₀ (1 + δ),   pₙ' = pₙ + δpₙ/(1 + δ),   κ' = κ (1 + δκ/(1 + δ)),   δ = δq₀, δκ = δ ln κ

        The flux is linear in these three, and a movie's likelihood nearly Gaussian: it shows D₀ μ' well and D₀
        alone badly, a direction that is straight in them and strongly curved in θ. To first order this is
        θ + step.
        """
        moved = np.array(theta + step, float)
        if self.model == "fickian":
            return moved
        n, q = self.enthalpies, self.names.index("q_0")
        factor = _positive(1 + step[..., q])
        moved[..., :n] = theta[:n] + step[..., :n] / factor[..., None]
        moved[..., q] = theta[q] + np.log(factor)
        moved[..., -1] = theta[-1] + np.log(_positive(1 + step[..., -1] / factor))
        return moved

    def _entropy(self) -> np.ndarray:
        """Coefficients of degree `lowest` to N of ln(c/(1−c)) over the range that movies visit."""
        x = np.linspace(-0.9, 0.9, 201)
        return np.polynomial.legendre.legfit(x, np.log((1 + x) / (1 - x)), self.enthalpy_degree)[
            self.lowest :
        ]

    def prior_sd(self) -> np.ndarray:
        """Standard deviations of the weakest Gaussian prior.

        Wide enough (several kT on μ_h, a factor e³ on D and κ) not to move what a movie determines; a term of degree n
        is held by n(n+1), because the data must ask for it.
        """
        width = np.array([6.0 if name[0] == "p" else 3.0 for name in self.names])
        return width * np.sqrt(2.0 / np.maximum(self.penalty(), 2.0))

    def penalty(self) -> np.ndarray:
        """n(n+1) of the terms of degree n, 1 of what is of no degree."""
        degrees = [int(n) if (n := name[2:]).isdigit() else 0 for name in self.names]
        return np.array([max(n * (n + 1), 1) for n in degrees], float)

    def prior(self, centre: np.ndarray) -> LawPrior:
        """The weakest prior about a law [p]."""
        return LawPrior(centre, self.prior_sd())


@dataclass(frozen=True)
class Units:
    """Pixel size and frame interval that turn fitted numbers into the movie's units."""

    length: float = 1.0
    time: float = 1.0
    length_unit: str = "px"
    time_unit: str = "frame"
    conserved: bool = True

    @property
    def diffusivity(self) -> float:
        """Factor from px²/frame to length²/time; from 1/frame to 1/time where nothing is conserved."""
        return (self.length**2 if self.conserved else 1.0) / self.time

    @property
    def diffusivity_unit(self) -> str:
        """Unit of D, or of an Allen-Cahn mobility."""
        if not self.conserved:
            return f"1/{self.time_unit}"
        return f"{self.length_unit}^2/{self.time_unit}"

    @property
    def kappa(self) -> float:
        """Factor from px² to length² (κ in kT per site)."""
        return self.length**2

    @property
    def kappa_unit(self) -> str:
        """Unit of κ."""
        return f"kT {self.length_unit}^2"


@partial(jax.jit, static_argnames="space")
def law_curves(
    space: LawSpace, theta: Float[Array, " p"], c: Float[Array, " c"]
) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
    """μ_h(c) − μ_h(1/2) [kT] and ln D(c) [ln px²/frame].

    μ_h is zero for a Fickian law; for Allen-Cahn it is μ_h(c) itself, beside ln M(c) [ln 1/frame].
    """
    model = space.build(theta)
    if isinstance(model, Fickian):
        return jnp.zeros_like(c), jnp.log(model.diffusivity(c))
    half = jnp.full((1,), 0.5, c.dtype)
    mu = model.free_energy.chemical_potential
    if space.model == "allen-cahn":
        return mu(c), jnp.log(model.mobility(c))
    return mu(c) - mu(half), jnp.log(model.mobility(c))


def _positive(factor: np.ndarray | np.floating) -> np.ndarray:
    """The factor itself above 1/4, continued below by a hyperbola: smooth, slow, and always positive."""
    low = 0.25
    return np.where(factor > low, factor, low**2 / (2 * low - np.minimum(factor, low)))
