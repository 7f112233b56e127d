"""docs/combinations.md is what the code says of which losses, terms and families go together."""

import importlib.util
import inspect
from pathlib import Path
from typing import Any

import pytest

from ganjax import losses

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def combinations() -> Any:
    spec = importlib.util.spec_from_file_location("make_combinations", DOCS / "make_combinations.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_code_makes(combinations: Any) -> None:
    """Every combination of three is made, or refused for a reason that is one of a pair's."""
    written = (DOCS / "combinations.md").read_text(encoding="utf-8")
    assert combinations.page() == written, "docs/combinations.md is not of this code: python docs/make_combinations.py"


def test_every_loss_is_on_the_page(combinations: Any) -> None:
    makers = {"against_averages", "boundary_equilibrium", "energy_based", "top_k"}
    helpers = {"Logits", "Loss", "Scales", "at_all_scales", "mean_logit"}
    assert {name.split("(")[0] for name in combinations.LOSSES} == set(losses.__all__) - helpers
    assert makers <= set(losses.__all__)


def test_a_term_is_short(combinations: Any) -> None:
    for term in (*combinations.PENALTIES, *combinations.GENERATOR_TERMS):
        assert len(inspect.getsourcelines(type(term))[0]) <= 60, term


def test_a_step_on_all_losses_and_terms_is_finite(combinations: Any) -> None:
    metrics = combinations.step_with_all(combinations.families()["mlp"])
    terms = {name for name in metrics if name.startswith(("penalty/", "term/"))}
    assert (
        len(terms) == len(combinations.PENALTIES) + len(combinations.GENERATOR_TERMS) - 1
    )  # one of two repelling ones
    assert sum(metrics[name] != 0 for name in terms) >= len(terms) - 1
