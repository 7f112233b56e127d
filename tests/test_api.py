"""docs/api.md names what can be imported, and says what the code says."""

import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def make_api() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_api", ROOT / "docs" / "make_api.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_code_makes(make_api: Any) -> None:
    written = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert make_api.page() == written, "docs/api.md is not of this code: python docs/make_api.py"


def test_every_name_of_the_page_can_be_imported() -> None:
    _, *sections = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").split("\n## ")
    listed = {section.split("\n")[0]: re.findall(r"^- `(\w+)", section, re.MULTILINE) for section in sections}
    for module, names in listed.items():
        assert names == importlib.import_module(module).__all__
        for name in names:
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"
    for module in ("ganjax", "ganjax.data", "ganjax.losses", "ganjax.recipes", "ganjax.platform.forms"):
        assert module in listed
    strangers = {"Condition", "gradients", "RealDistance", "PathLength", "FeatureMatching", "Term", "Generated"}
    assert strangers <= set(listed["ganjax"])


@pytest.mark.parametrize("code", ["def found(): pass", "class found: pass", "found = 3", "found: int = 3\nother = 4"])
def test_a_public_name_that_says_nothing_is_refused(make_api: Any, tmp_path: Path, code: str) -> None:
    (tmp_path / "ganjax").mkdir()
    (tmp_path / "ganjax" / "__init__.py").write_text(f'"""Doc."""\n{code}\n__all__ = ["found"]\n')
    make_api.ROOT = tmp_path
    with pytest.raises(ValueError, match=r"ganjax\.found is public and has no docstring"):
        make_api.page()


def test_names_are_followed_to_where_they_are_said(make_api: Any, tmp_path: Path) -> None:
    (tmp_path / "ganjax").mkdir()
    (tmp_path / "ganjax" / "order.py").write_text(
        '"""A module."""\n\ndef order(seed: int, *, size: int = 3) -> int:\n    """First line.\n\n    More.\n    """\n'
    )
    (tmp_path / "ganjax" / "__init__.py").write_text(
        '"""Doc."""\nfrom ganjax.order import order\nLIMIT = 3\n"""Most ``rows``."""\n__all__ = ["LIMIT", "order"]\n'
    )
    make_api.ROOT = tmp_path
    expected = "\n## ganjax\n\nDoc.\n\n- `LIMIT`: Most `rows`.\n- `order(seed, *, size=3)`: First line.\n"
    assert make_api.page() == make_api.HEAD + expected
