"""Which methods a run used, with the BibTeX of each: `cite`.

A method is known by the fields of a config: that of a run holds which network, objective and prior it asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Method:
    """A published method.

    Attributes:
        what: it does here.
        bibtex: its entry.
        used: field -> values that ask for it, any of which is enough; no values: wherever there is such a field.
    """

    what: str
    bibtex: str
    used: Mapping[str, tuple[Any, ...]]

    def is_of(self, config: Mapping[str, Any]) -> bool:
        """Whether a config asks for the method.

        Args:
            config: flat; fields of nested configs count by the end of their names.
        """
        for field, values in self.used.items():
            found = [v for k, v in config.items() if f".{k}".endswith(f".{field}")]
            if any(v is not None and (not values or v in values) for v in found):
                return True
        return not self.used


def cited(configs: Sequence[Mapping[str, Any]], also: Sequence[str] = ()) -> list[Method]:
    """The methods of some runs.

    Args:
        configs: flat.
        also: keys of BibTeX entries that a study names itself.

    Returns:
        Each once, in the order of the table.
    """
    return [
        m
        for m in METHODS
        if any(key in m.bibtex for key in also) or any(m.is_of(c) for c in configs)
    ]


def _entry(kind: str, key: str, **fields: str) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


METHODS = (
    Method(
        "arrays, derivatives and compilation",
        _entry("misc", "jax2018", author="Bradbury, James and others", year="2018",
               title="JAX: composable transformations of Python+NumPy programs", howpublished="http://github.com/jax-ml/jax"),
        {},
    ),
    Method(
        "twin of a phase-separating material",
        _entry("article", "cahn1958", author="Cahn, John W. and Hilliard, John E.", journal="J. Chem. Phys.", volume="28",
               pages="258", year="1958", doi="10.1063/1.1744102",
               title="Free energy of a nonuniform system. I. Interfacial free energy"),
        {"omega": (), "enthalpy_degree": ()},
    ),
    Method(
        "explicit steps of stiff equations",
        _entry("article", "sommeijer1998", author="Sommeijer, B. P. and Shampine, L. F. and Verwer, J. G.",
               journal="J. Comput. Appl. Math.", volume="88", pages="315", year="1998", doi="10.1016/S0377-0427(97)00219-7",
               title="RKC: An explicit solver for parabolic PDEs"),
        {"solver_tolerance": (), "kappa": ()},
    ),
    Method(
        "blind network",
        _entry("inproceedings", "laine2019", author="Laine, Samuli and Karras, Tero and Lehtinen, Jaakko and Aila, Timo",
               booktitle="NeurIPS", year="2019", eprint="1901.10277", archiveprefix="arXiv",
               title="High-quality self-supervised deep image denoising"),
        {"denoise.network": ("auto", "blind"), "network": ("blind",)},
    ),
    Method(
        "blind network of videos",
        _entry("inproceedings", "sheth2021", author="Sheth, Dev Yashpal and others", booktitle="ICCV", year="2021",
               eprint="2011.15045", archiveprefix="arXiv", title="Unsupervised deep video denoising"),
        {"blind": ("udvd", "udvd-mf")},
    ),
    Method(
        "masked pixels",
        _entry("inproceedings", "krull2019", author="Krull, Alexander and Buchholz, Tim-Oliver and Jug, Florian",
               booktitle="CVPR", year="2019", eprint="1811.10980", archiveprefix="arXiv",
               title="Noise2Void - Learning denoising from single noisy images"),
        {"network": ("n2v",)},
    ),
    Method(
        "risk without truth",
        _entry("article", "stein1981", author="Stein, Charles M.", journal="Ann. Stat.", volume="9", pages="1135", year="1981",
               doi="10.1214/aos/1176345632", title="Estimation of the mean of a multivariate normal distribution"),
        {"objective": ("sure", "pure")},
    ),
    Method(
        "noise of counts and of the read-out",
        _entry("article", "foi2008", author="Foi, Alessandro and Trimeche, Mejdi and Katkovnik, Vladimir and Egiazarian, Karen",
               journal="IEEE Trans. Image Process.", volume="17", pages="1737", year="2008", doi="10.1109/TIP.2008.2001404",
               title="Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data"),
        {"noise": ("auto", "poisson", "poisson-gaussian")},
    ),
    Method(
        "least squares of the law",
        _entry("book", "nocedal2006", author="Nocedal, Jorge and Wright, Stephen J.", publisher="Springer", year="2006",
               doi="10.1007/978-0-387-40065-5", title="Numerical Optimization"),
        {"iterations": ()},
    ),
    Method(
        "intervals by the Laplace approximation",
        _entry("book", "rasmussen2006", author="Rasmussen, Carl Edward and Williams, Christopher K. I.", publisher="MIT Press",
               year="2006", title="Gaussian Processes for Machine Learning"),
        {"uncertainty": ("laplace",)},
    ),
)  # fmt: skip
