"""The tabs of `ganjax explore` that the tiny run has nothing for: mixed styles, large pictures, pictures that go in."""

import base64
import contextlib
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import opened_page
from explored import AnySize, Styled, maker_of, model
from linear_translators import Judge
from PIL import Image

pytest.importorskip("uvicorn", reason="pip install 'ganjax[explore]'")

import uvicorn

from ganjax.models import mlp
from ganjax.runs.exits import Exit
from ganjax.runs.exploring import Explorer
from ganjax.using.marks import Marks, Origin
from ganjax.verbs._explore_app import application
from ganjax.verbs._explore_model import facts_of
from ganjax.verbs._translate_inputs import Fitting


@contextlib.contextmanager
def served(gan: Any, *, fitting: Fitting | None = None, **changes: Any) -> Iterator[tuple[str, Explorer]]:
    """The address of a page of a generator, whose facts may be told otherwise."""
    explorer = Explorer(maker_of(gan))
    facts = facts_of(explorer, "tiny", 448) | changes
    door = application(explorer, Exit(Marks(Origin(run="tiny"))), facts, host="127.0.0.1", fitting=fitting)
    settings: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "lifespan": "off", "log_level": "critical"}
    server = uvicorn.Server(uvicorn.Config(door, ws="none", **settings))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", explorer
    finally:
        server.should_exit = True
        thread.join()
        explorer.close()


def cells(page: Any, num: int) -> None:
    """Waits until so many pictures are there, and nothing is asked for."""
    there = "document.querySelectorAll('#stage .cell').length === num"
    page.wait_for_function(f"num => {there} && !document.querySelector('#stage[aria-busy]')", arg=num)


def pixels(page: Any, number: int) -> np.ndarray:
    """Of a picture of the grid."""
    source = page.locator("#stage .cell img").nth(number).get_attribute("src")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))


def test_mixed_pictures_stand_between_those_that_they_are_of() -> None:
    gan = model(Styled(image_shape=(12, 4, 1), latent_size=3), mlp.Discriminator(image_shape=(12, 4, 1), hidden=(4,)))
    with served(gan) as (address, _), opened_page(address, viewport={"width": 390, "height": 800}) as page:
        cells(page, 16)
        page.click("[data-mode=mix]")
        cells(page, 25)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        first = page.locator("input[type=range]").nth(0)
        first.evaluate("one => { one.value = 2; one.dispatchEvent(new Event('input')); }")
        assert page.locator("input[type=range]").nth(1).input_value() == "2"  # no layer before the first
        page.wait_for_timeout(50)
        cells(page, 25)
        row, column, mixed = pixels(page, 10), pixels(page, 3), pixels(page, 13)
        np.testing.assert_array_equal(mixed[:8], row[:8])
        np.testing.assert_array_equal(mixed[8:], column[8:])
        page.locator("#stage .cell").nth(13).press("Enter")
        assert "layers 2 to 2 of seed 102" in page.text_content("dialog dl")
        page.click("dialog >> text=Go on from seed 1")
        cells(page, 9)
        assert page.locator("input[type=number]").nth(0).input_value() == "1"


def test_large_pictures_are_asked_for_few_at_a_time() -> None:
    gan = model(Styled(image_shape=(12, 4, 1), latent_size=3), mlp.Discriminator(image_shape=(12, 4, 1), hidden=(4,)))
    with served(gan, most=4, directions=["first"]) as (address, _), opened_page(address) as page:
        cells(page, 4)
        page.click("[data-mode=mix]")
        cells(page, 4)
        page.click("[data-mode=between]")
        cells(page, 4)
        assert page.locator("#error").is_hidden()


def test_a_picture_that_is_dropped_in_goes_through(tmp_path: Path) -> None:
    gan = model(AnySize(image_shape=(16, 16, 3), input_shape=(16, 16, 3)), Judge(image_shape=(16, 16, 3)))
    drawn = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    Image.fromarray(drawn).save(tmp_path / "mine.png")
    with served(gan, fitting=Fitting.of(gan, tile=None)) as (address, _), opened_page(address) as page:
        page.wait_for_selector("input[type=file]", state="attached")
        assert page.locator("[role=tab]").all_inner_texts() == ["Your picture"]
        page.set_input_files("input[type=file]", tmp_path / "mine.png")
        cells(page, 1)
        assert pixels(page, 0).shape == (16, 24, 3)
