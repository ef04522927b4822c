"""Numbers that a fit may report have definitions, and findings have intervals of what is possible."""

import jax.numpy as jnp
import pytest

from phdenoise.learn.config import FitConfig
from phdenoise.learn.laws import given_law
from phdenoise.physics.equations.advected import Advected
from phdenoise.physics.equations.anisotropic import Anisotropic
from phdenoise.physics.equations.blurred import Blurred
from phdenoise.physics.equations.drifting import Drifting
from phdenoise.physics.equations.edged import Fed, Held, WithEdges
from phdenoise.physics.equations.heterogeneous import Heterogeneous
from phdenoise.physics.equations.sourced import Sourced
from phdenoise.physics.law_parameters import free_parameters
from phdenoise.report.definitions import defined
from phdenoise.report.page import Verdict, measured

ALL = {
    "plain": lambda law: law,
    "advected": Advected,
    "anisotropic": Anisotropic,
    "blurred": Blurred,
    "drifting": lambda law: Drifting(law, jnp.zeros(2)),
    "heterogeneous": lambda law: Heterogeneous(law, jnp.zeros(4)),
    "sourced": Sourced,
    "edges": lambda law: WithEdges(
        law,
        edge_left=Held(jnp.zeros(())),
        edge_top=Held(jnp.zeros(2)),
        edge_right=Fed(jnp.zeros(())),
    ),
}


@pytest.mark.parametrize("kind", ["fickian", "cahn-hilliard", "allen-cahn"])
@pytest.mark.parametrize("extended", ALL)
def test_every_number_of_a_law_has_a_definition(kind, extended):
    law = ALL[extended](given_law(kind, FitConfig()).law)
    without = [n for n in free_parameters(law).names if not defined("fit noisy", n)]
    assert not without


def test_an_interval_of_a_rate_is_positive_and_one_that_holds_zero_says_so():
    rate = measured("k", 0.01, 0.12, "1/s", Verdict.GOOD, positive=True)
    assert "-" not in rate.interval.replace("e-", "")
    assert "zero" not in rate.why
    speed = measured("v", 0.1, 0.12, "um/s", Verdict.GOOD)
    assert speed.why == "The interval holds zero."
    sure = measured("k", 2.0, 0.01, "1/s", Verdict.GOOD, positive=True)
    assert sure.interval == measured("k", 2.0, 0.01, "1/s", Verdict.GOOD).interval
