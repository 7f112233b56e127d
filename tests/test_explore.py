"""`ganjax explore`: what is drawn, who is let in, and that nothing that comes by the network does any harm."""

import base64
import dataclasses
import io
import itertools
import json
import random
import struct
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asgi import Answer, post, request
from explored import AnySize, Styled, maker_of, model
from linear_translators import Judge, Translator
from PIL import Image

pytest.importorskip("starlette", reason="pip install 'ganjax[explore]'")

from ganjax.ground.errors import UserError
from ganjax.models import mlp
from ganjax.runs.exits import Exit
from ganjax.runs.exploring import Direction, Explorer
from ganjax.runs.points import Maker
from ganjax.runs.projecting import Eye, Projector
from ganjax.runs.sampling import Sampler, generate
from ganjax.runs.wishes import Place, Wish
from ganjax.using.gathering import Busy, Gatherer
from ganjax.using.guard import Check, Guard, OpenGuard
from ganjax.using.likeness import Likeness
from ganjax.using.marks import Marks, Origin
from ganjax.using.projection import Descent
from ganjax.using.xmp import find_packet, parse_packet
from ganjax.verbs._explore_app import application
from ganjax.verbs._explore_door import Door
from ganjax.verbs._explore_model import facts_of
from ganjax.verbs._explore_uploads import MOST_PIXELS, Start, target
from ganjax.verbs._translate_inputs import Fitting

NAMES = ("cat", "dog", "owl")


@dataclasses.dataclass(frozen=True)
class Doubled:
    """Decodes latents to pictures twice as large, times its weight."""

    def load(self) -> Any:
        return jnp.float32(0.5)

    def picture_shape(self, latent_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        height, width, channels = latent_shape
        return 2 * height, 2 * width, channels

    def decode(self, weights: Any, latents: Any) -> Any:
        return weights * jnp.repeat(jnp.repeat(latents, 2, axis=1), 2, axis=2)


@pytest.fixture(scope="module")
def maker() -> Maker:
    networks = {"image_shape": (8, 8, 1), "hidden": (8,), "num_classes": 3}
    return maker_of(model(mlp.Generator(**networks, latent_size=5), mlp.Discriminator(**networks)))


@pytest.fixture(scope="module")
def explorer(maker: Maker) -> Iterator[Explorer]:
    projector = Projector(maker=maker, eye=Eye(Likeness(pixels=1.0), {}), space="latents", descent=Descent(num_steps=2))
    directions = [Direction("first", np.eye(5, dtype=np.float32)[0])]
    explorer = Explorer(maker, class_names=NAMES, directions=directions, projector=projector)
    explorer.warm_up()
    yield explorer
    explorer.close()


@pytest.fixture(scope="module")
def server(explorer: Explorer) -> Door:
    way_out = Exit(Marks(Origin(run="tiny", step=7)), class_names=NAMES)
    return application(explorer, way_out, facts_of(explorer, "tiny", 448), host="127.0.0.1")


@pytest.fixture(scope="module")
def translator() -> Iterator[tuple[Door, Explorer]]:
    gan = model(AnySize(image_shape=(16, 16, 3), input_shape=(16, 16, 3)), Judge(image_shape=(16, 16, 3)))
    explorer = Explorer(maker_of(gan))
    facts, way_out = facts_of(explorer, "tiny", 0), Exit(Marks(Origin()))
    yield application(explorer, way_out, facts, host="127.0.0.1", fitting=Fitting.of(gan, tile=None)), explorer
    explorer.close()


def picture_file(size: tuple[int, int] = (16, 16), kind: str = "png", seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=kind)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of so many black pixels, in a few bytes of theirs."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )


def upload(application: Any, path: str, data: bytes, *, kind: str = "image/png", query: str = "") -> Answer:
    headers = {"content-type": kind, "content-length": str(len(data))}
    return request(application, "POST", path, body=data, headers=headers, query=query.encode())


def decoded(image: dict[str, str]) -> tuple[np.ndarray, dict[str, str]]:
    """The pixels of an answer's picture, and what it says of itself."""
    data = base64.b64decode(image["source"].removeprefix("data:image/png;base64,"))
    packet = find_packet(data)
    assert packet is not None
    return np.asarray(Image.open(io.BytesIO(data))), parse_packet(packet) or {}


# What is drawn.


def test_a_picture_is_the_first_sample_of_its_seed(explorer: Explorer, maker: Maker) -> None:
    drawn = explorer.images([Wish(Place(seed, label=label)) for seed, label in ((3, 2), (2**32 - 1, 0))])
    for image, seed, label in zip(drawn, (3, 2**32 - 1), (2, 0), strict=True):
        sampler = dataclasses.replace(maker.sampler, seed=seed)
        (sample,) = generate(sampler, maker.state, np.array([label], np.int32))
        assert np.abs(image.astype(int) - sample).max() <= 1


def test_ways_begin_and_end_at_their_ends(explorer: Explorer) -> None:
    first, last = Place(1, label=0), Place(2, label=2)
    way = explorer.images([Wish(first, towards=last, share=share) for share in (0.0, 0.5, 1.0)])
    ends = explorer.images([Wish(first), Wish(last, truncation=1.0)])
    np.testing.assert_array_equal(way[0], ends[0])
    assert np.abs(way[2].astype(int) - ends[1]).max() <= 1
    assert np.abs(way[1].astype(int) - ends[0]).max() > 1


def test_truncation_to_nothing_leaves_one_picture_and_a_direction_moves(explorer: Explorer) -> None:
    one, other = explorer.images([Wish(Place(seed), truncation=0.0) for seed in (1, 2)])
    np.testing.assert_array_equal(one, other)
    still, moved = explorer.images([Wish(Place(1), direction=0, amount=amount) for amount in (0.0, 4.0)])
    assert np.abs(still.astype(int) - moved).max() > 1
    there, back = Wish(Place(1), direction=0, amount=4.0), explorer.images([Wish(Place(1))])[0]
    np.testing.assert_array_equal(still, back)
    assert there.said == "moved by 4 along direction 0"


def test_styles_are_mixed_layer_by_layer() -> None:
    gan = model(Styled(image_shape=(12, 4, 1), latent_size=3), mlp.Discriminator(image_shape=(12, 4, 1), hidden=(4,)))
    explorer = Explorer(maker_of(gan))
    try:
        assert explorer.known.num_layers == 3
        own, other, mixed, short = explorer.images(
            [Wish(Place(1)), Wish(Place(2)), Wish(Place(1), mixed=2, layers=(1, 1)), Wish(Place(1), truncation=0.0)]
        )
        np.testing.assert_array_equal(mixed[:4], own[:4])
        np.testing.assert_array_equal(mixed[4:8], other[4:8])
        np.testing.assert_array_equal(mixed[8:], own[8:])
        np.testing.assert_array_equal(short[:4], short[4:8])  # the average, which all layers share
    finally:
        explorer.close()


def test_what_stands_for_pictures_is_decoded(explorer: Explorer, maker: Maker) -> None:
    gan = dataclasses.replace(maker.sampler.gan, decoder=Doubled())
    doubled = Explorer(Maker(Sampler(gan), maker.state))
    try:
        assert doubled.image_shape == (16, 16, 1)
        (image,), (latents,) = (one.images([Wish(Place(4, label=1))]) for one in (doubled, explorer))
        assert np.abs((image[::2, 1::2] - 127.5) * 2 - (latents - 127.5)).max() <= 1.5
    finally:
        doubled.close()


def test_many_people_share_a_batch(explorer: Explorer) -> None:
    before, found = explorer._pictures.num_batches, {}
    explorer.images([Wish(Place(seed)) for seed in range(40)])  # so that their latents are there
    threads = [
        threading.Thread(target=lambda seed=seed: found.update({seed: explorer.images([Wish(Place(seed))])[0]}))
        for seed in range(32)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert explorer._pictures.num_batches - before < 3 + 16
    np.testing.assert_array_equal(found[9], explorer.images([Wish(Place(9))])[0])


def test_batches_are_full_and_in_order_and_errors_are_the_askers() -> None:
    sizes: list[int] = []
    begin = threading.Event()

    def compute(items: Any) -> list[int]:
        begin.wait(10)
        sizes.append(len(items))
        if 13 in items:
            raise ValueError("13")
        return [2 * item for item in items]

    gatherer: Gatherer[int, int] = Gatherer(compute, size=4, seconds=0.2, most_waiting=20)
    first = gatherer.submit([0])
    rest = [gatherer.submit([number])[0] for number in range(1, 10)]
    with pytest.raises(Busy, match="try again in a few seconds"):
        gatherer.submit(range(20))
    begin.set()
    assert [future.result(10) for future in [*first, *rest]] == [2 * number for number in range(10)]
    assert max(sizes) == 4
    (wrong,) = gatherer.submit([13])
    assert isinstance(wrong.exception(10), ValueError)
    assert gatherer.submit([5])[0].result(10) == 10
    gatherer.close()


# What the page is given.


def test_the_page_is_served_and_loads_nothing_from_elsewhere(server: Door) -> None:
    page = request(server, "GET", "/")
    assert page.status == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for name in ("page.css", "explore.css", "page.js", "explore.js"):
        assert name in page.body.decode()
        assert request(server, "GET", f"/{name}").status == 200
    assert b"http" not in page.body.replace(b"http-equiv", b"")
    facts = request(server, "GET", "/model").json
    assert (facts["name"], facts["classes"], facts["directions"], facts["most"]) == ("tiny", [*NAMES], ["first"], 64)
    assert facts["facts"] == "448 images seen · 8 x 8 pixels, grey · 3 classes"


def test_pictures_say_what_made_them(server: Door, explorer: Explorer) -> None:
    wish = {"seed": 5, "label": 2, "truncation": 0.5}
    answer = post(server, "/draw", {"wishes": [wish, {"seed": 6}]})
    assert answer.status == 200
    pixels, said = decoded(answer.json["images"][0])
    np.testing.assert_array_equal(pixels[:, :, None], explorer.images([Wish(Place(5, label=2), truncation=0.5)])[0])
    facts = {name.removeprefix("ganjax:"): value for name, value in said.items()}
    assert facts["run"] == "tiny"
    assert (facts["seed"], facts["label"], facts["settings"]) == ("5", "owl", "truncation 0.5")
    sheet = post(server, "/sheet", {"wishes": [wish, {"seed": 6}], "columns": 2})
    assert sheet.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(sheet.body)).size == (2 * 50 - 2 + 4, 52)
    assert b"seed 5; truncation 0.5; seed 6" in sheet.body


class _Material:
    name, num_classes, image_shape, mirrors = "tiny", 3, (8, 8, 1), False

    def classifier(self) -> Any: ...
    def space(self, name: Any) -> Any: ...
    def kept(self, name: Any, settings: Any, make: Any) -> Any: ...


def test_what_the_guard_refuses_stays(explorer: Explorer, maker: Maker) -> None:
    class Owls(Check):
        def open(self, material: Any) -> Callable[..., Any]:
            return lambda images, labels: (labels == 2).astype(np.float32)

    guard = OpenGuard(Guard(checks=(Owls(name="owls", at_least=0.5),)), _Material())
    way_out = Exit(Marks(Origin()), guard=guard, class_names=NAMES)
    server = application(explorer, way_out, {}, host="127.0.0.1")
    images = post(server, "/draw", {"wishes": [{"seed": 1, "label": 1}, {"seed": 1, "label": 2}]}).json["images"]
    assert images[0] == {"refused": "owls"}
    assert "at least 0.5" in decoded(images[1])[1]["ganjax:guard"]
    refused = post(server, "/sheet", {"wishes": [{"seed": 1}], "columns": 1})
    assert (refused.status, refused.json["error"]) == (400, "the guard of this run refused all of them; choose others")

    capped = Explorer(maker, guard=Guard(largest_truncation=0.5, largest_distance=0.01))
    try:
        assert capped.known.largest_truncation == 0.5
        one, other = capped.images([Wish(Place(seed), truncation=0.5) for seed in (1, 2)])
        assert np.abs(one.astype(int) - other).max() <= 8
    finally:
        capped.close()


def test_a_picture_is_projected_and_gone_on_from(server: Door) -> None:
    found = upload(server, "/project", picture_file(), query="place={}")
    assert found.status == 200
    place = found.json["place"]
    assert place["label"] in (0, 1, 2)
    way = {"seed": 0, "label": place["label"], "code": place["code"], "towards": {"seed": 3}, "share": 0.5}
    answer = post(server, "/draw", {"wishes": [place, way]})
    np.testing.assert_array_equal(decoded(answer.json["images"][0])[0], decoded(found.json["images"][0])[0])
    assert answer.json["images"][1]["said"].startswith("a projected picture, 0.5 of the way to seed 3")
    gone = post(server, "/draw", {"wishes": [{"seed": 0, "code": "another"}]})
    assert (gone.status, gone.json["error"]) == (400, "the projected picture is not kept any more; choose it again")
    named = upload(server, "/project", picture_file(), query='place={"label":1}')
    assert named.json["place"]["label"] == 1


def test_a_picture_goes_through_a_generator_that_starts_from_one(translator: tuple[Door, Explorer]) -> None:
    server, explorer = translator
    data = picture_file((70, 16))
    answer = upload(server, "/translate", data, query='wish={"seed":0}')
    pixels, _ = decoded(answer.json["images"][0])
    assert pixels.shape == (16, 70, 3)
    start = np.asarray(Image.open(io.BytesIO(data)))
    padded = np.pad(start, ((0, 48), (0, 58), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(pixels, explorer.images([Wish(Place(0))], start=padded)[0][:16, :70])
    refused = post(server, "/draw", {"wishes": [{"seed": 1}]})
    assert (refused.status, refused.json["error"]) == (400, "this generator starts from a picture: choose one")


def test_uploads_are_brought_to_a_size_that_is_taken() -> None:
    gan = model(Translator(image_shape=(8, 16, 3), input_shape=(8, 16, 1)), Judge(image_shape=(8, 16, 3)))
    fixed = Start(picture_file((100, 30)), Fitting.of(gan, tile=None))
    assert fixed.array.shape == (8, 16, 1)
    free = model(AnySize(image_shape=(8, 8, 3), input_shape=(4, 4, 3)), Judge(image_shape=(8, 8, 3)))
    start = Start(picture_file((1200, 300), "webp"), Fitting.of(free, tile=None))
    assert start.array.shape == (128, 512, 3)
    assert start.cropped(np.zeros((256, 1024, 3))).shape == (256, 1024, 3)
    assert target(picture_file((50, 20), "jpeg"), (8, 8, 1)).shape == (8, 8, 1)


# Who is let in.


@pytest.mark.parametrize(
    ("host", "headers", "status"),
    [
        ("127.0.0.1", {"host": "127.0.0.1:8000"}, 200),
        ("127.0.0.1", {"host": "localhost:9"}, 200),
        ("127.0.0.1", {"host": "LOCALHOST"}, 200),
        ("127.0.0.1", {"host": "[::1]:8000"}, 200),
        ("127.0.0.1", {"host": "evil.example:8000"}, 403),
        ("127.0.0.1", {"host": "127.0.0.1.evil.example"}, 403),
        ("127.0.0.1", {"host": "192.168.0.7:8000"}, 403),
        ("0.0.0.0", {"host": "192.168.0.7:8000"}, 200),
        ("0.0.0.0", {"host": "evil.example:8000"}, 403),
        ("gpu.example", {"host": "gpu.example:8000"}, 200),
        ("127.0.0.1", {"host": ""}, 400),
        ("127.0.0.1", {"host": "a b"}, 400),
        ("127.0.0.1", {"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000"}, 200),
        ("127.0.0.1", {"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8001"}, 403),
        ("127.0.0.1", {"host": "127.0.0.1:8000", "origin": "http://evil.example"}, 403),
        ("127.0.0.1", {"host": "127.0.0.1:8000", "origin": "null"}, 403),
        ("127.0.0.1", {"host": "127.0.0.1:8000", "sec-fetch-site": "same-origin"}, 200),
        ("127.0.0.1", {"host": "127.0.0.1:8000", "sec-fetch-site": "cross-site"}, 403),
        ("127.0.0.1", {"host": "127.0.0.1:8000", "sec-fetch-site": "same-site"}, 403),
    ],
)
def test_only_this_machines_own_page_is_answered(
    explorer: Explorer, host: str, headers: dict[str, str], status: int
) -> None:
    server = application(explorer, Exit(Marks(Origin())), {}, host=host)
    answer = post(server, "/draw", {"wishes": [{"seed": 1}]}, **headers)
    assert answer.status == status
    if status != 200:
        assert set(answer.json) == {"error"}
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_two_hosts_are_none(server: Door) -> None:
    twice = [(b"host", b"127.0.0.1"), (b"host", b"evil.example")]
    assert request(server, "GET", "/", headers=twice).status == 400


# What is asked.


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "the request has no list of 1 to 64 wishes"),
        ([], "the request has no list of 1 to 64 wishes"),
        ({"wishes": []}, "the request has no list of 1 to 64 wishes"),
        ({"wishes": [{"seed": 1}] * 65}, "the request has no list of 1 to 64 wishes"),
        ({"wishes": [3]}, "a wish is 3"),
        ({"wishes": [{}]}, "seed is missing; expected a whole number from 0 to 4294967295"),
        ({"wishes": [{"seed": -1}]}, "seed is -1"),
        ({"wishes": [{"seed": 2**32}]}, "seed is 4294967296"),
        ({"wishes": [{"seed": True}]}, "seed is True"),
        ({"wishes": [{"seed": 1.0}]}, "seed is 1.0"),
        ({"wishes": [{"seed": 1, "label": 3}]}, "label is 3; expected a whole number from 0 to 2"),
        ({"wishes": [{"seed": 1, "label": "cat"}]}, "label is 'cat'"),
        ({"wishes": [{"seed": 1, "attributes": [1]}]}, "attributes is [1]; expected 0 numbers"),
        ({"wishes": [{"seed": 1, "truncation": 2.5}]}, "truncation is 2.5; expected a number from 0 to 2"),
        ({"wishes": [{"seed": 1, "truncation": float("nan")}]}, "truncation is nan"),
        ({"wishes": [{"seed": 1, "truncation": 10**400}]}, "truncation is 1000"),
        ({"wishes": [{"seed": 1, "mixed": 2, "layers": [0, 0]}]}, "this generator has no layers to mix"),
        ({"wishes": [{"seed": 1, "layers": [1, 0]}]}, "a layer is 1; expected a whole number from 0 to 0"),
        ({"wishes": [{"seed": 1, "direction": 1}]}, "direction is 1; expected a whole number from 0 to 0"),
        ({"wishes": [{"seed": 1, "towards": {"seed": 2, "share": 1}}]}, "a place is {'seed': 2, 'share': 1}"),
        ({"wishes": [{"seed": 1, "file": "/etc/passwd"}]}, "expected an object of some of amount, attributes"),
        ({"wishes": [{"seed": 1, "code": 3}]}, "code is 3; expected one that this server gave"),
    ],
)
def test_what_cannot_be_meant_gets_one_line(server: Door, content: Any, said: str) -> None:
    answer = post(server, "/draw", content)
    assert answer.status == 400
    assert said in answer.json["error"]


@pytest.mark.parametrize(
    ("data", "kind", "status", "said"),
    [
        (b"", "image/png", 400, "the file is no picture in PNG, JPEG or WebP"),
        (b"GIF89a" + bytes(20), "image/png", 400, "the file is no picture in PNG, JPEG or WebP"),
        (picture_file()[:60], "image/png", 400, "the picture cannot be read as an image"),
        (picture_file(), "text/html", 415, "the file is text/html; expected png, jpeg, webp"),
        (
            bomb(60_000, 60_000),
            "image/png",
            400,
            "more than the 40 million pixels that are taken",
        ),
        (bomb(MOST_PIXELS + 1, 1), "image/png", 400, "more than the 40 million pixels that are taken"),
        (bomb(2**31 - 1, 2**31 - 1), "image/png", 400, "picture"),
        (bomb(5_000, 5_000), "image/png", 400, "the picture cannot be read as an image"),
        (picture_file(kind="gif"), "image/png", 400, "the file is no picture in PNG, JPEG or WebP"),
        (picture_file() + bytes(16 * 2**20), "image/png", 413, "at most 16,777,216 are taken"),
    ],
)
def test_what_is_no_picture_gets_one_line(server: Door, data: bytes, kind: str, status: int, said: str) -> None:
    answer = upload(server, "/project", data, kind=kind, query="place={}")
    assert answer.status == status
    assert said in answer.json["error"]
    assert "\n" not in answer.json["error"]


def test_a_body_that_grows_beyond_what_it_said_is_not_taken(server: Door) -> None:
    lying = {"content-type": "application/json", "content-length": "10"}
    assert request(server, "POST", "/draw", body=bytes(2**18), headers=lying).status == 413
    assert request(server, "POST", "/draw", headers={**lying, "content-length": "-1"}).status == 413
    assert request(server, "POST", "/draw", body=b"{}", headers={"content-type": "text/plain"}).status == 415


def test_what_fails_here_is_said_in_the_terminal_alone(
    server: Door, explorer: Explorer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret\nplace")

    monkeypatch.setattr(explorer, "images", fail)
    answer = post(server, "/draw", {"wishes": [{"seed": 1}]})
    assert (answer.status, answer.json) == (500, {"error": "the server failed at this; its terminal says why"})
    assert "RuntimeError: secret place" in caplog.text


ODD = [None, True, -1, 2**70, 1e308, "", "a" * 500, [], {}, [[[]]], {"seed": 1}, "\x00", "\ud800", 0.5, [1, 2, 3]]
KEYS = [
    "seed",
    "label",
    "truncation",
    "towards",
    "share",
    "mixed",
    "layers",
    "direction",
    "amount",
    "code",
    "attributes",
]


def hostile(number: int) -> tuple[str, str, bytes, dict[str, str], bytes]:
    """A request that somebody might try: method, path, body, headers, query."""
    draw = random.Random(number)
    kind, json_type = number % 5, {"content-type": "application/json"}
    if kind == 0:  # a wish in which something is odd
        fine = {"seed": 1, "label": 2, "truncation": 0.7, "amount": 1, "direction": 0}
        fine |= {"share": 0.5, "towards": {"seed": 4}}
        wish = {**fine, draw.choice(KEYS): draw.choice([*ODD, 0, 1, 0.5])}
        wish = dict(draw.sample(list(wish.items()), draw.randint(1, len(wish))))
        content = draw.choice([{"wishes": [{"seed": 1}, wish]}] * 3 + [{"wishes": wish}, [wish], draw.choice(ODD)])
        content = content | {"columns": draw.choice([1, 2, *ODD])} if isinstance(content, dict) else content
        return "POST", draw.choice(["/draw", "/sheet"]), json.dumps(content).encode(), json_type, b""
    if kind == 1:  # JSON that is none
        whole = json.dumps({"wishes": [{"seed": 1, "label": 2, "truncation": 0.5}]}).encode()
        odd = [draw.randbytes(99), b"[" * 9999, b"\xff\xfe", b"1" * 5000, b"NaN", bytes(2**18)]
        return "POST", "/draw", draw.choice([whole[: draw.randint(0, 40)], *odd]), json_type, b""
    if kind == 2:  # a picture that is broken, or none
        form = draw.choice(["png", "jpeg", "webp"])
        data = bytearray(picture_file((24, 24), form, seed=number))
        for _ in range(draw.randint(0, 8)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        odd = [draw.randbytes(200), bomb(9**9, 3), bomb(3000, 3000), data[: draw.randrange(len(data))]]
        path, query = (("/project", b"place={}"), ("/translate", b"wish={%22seed%22:1}"))[number // 5 % 2]
        types = [f"image/{form}"] * 3 + ["image/svg+xml", ""]
        query = draw.choice([query] * 4 + [b"wish=[[", b"wish=%00&place=%00", b""])
        return "POST", path, bytes(draw.choice([data] * 4 + odd)), {"content-type": draw.choice(types)}, query
    if kind == 3:  # a place that is none
        paths = ["/../../etc/passwd", "/%2e%2e/", "/page.css/", "/\x00", "//", "/__init__.py", "/ü", "/a" * 999]
        paths += ["/model"]
        method = draw.choice(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "", "G\x00T"])
        return method, draw.choice(paths), draw.randbytes(9), {}, draw.choice([b"", b"a=%ff&&", draw.randbytes(9)])
    hosts = ["", "evil.example", "[::", "\xff", "a" * 9999, "127.0.0.1:99999999", "127.0.0.1", "127.0.0.1"]
    name = draw.choice(["origin", "content-length", "content-type", "sec-fetch-site"])
    headers = {"host": draw.choice(hosts), **json_type, name: draw.choice(["", "\xff", "-5", "x"])}
    return draw.choice(["GET", "POST"]), draw.choice(["/", "/draw", "/model"]), b"{}", headers, b""


def test_five_hundred_hostile_requests_leave_the_server_up_and_nothing_behind(
    server: Door, translator: tuple[Door, Explorer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cache = str(getattr(jax.config, "jax_compilation_cache_dir"))  # noqa: B009  (types do not know of it)
    written, watching = [], True

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
            written.append(str(arguments[0]))

    sys.addaudithook(audit)
    statuses = []
    for number, (method, path, body, headers, query) in enumerate(map(hostile, range(500))):
        answer = request(
            (server, translator[0])[number // 5 % 2], method, path, body=body, headers=headers, query=query
        )
        statuses.append(answer.status)
        assert answer.status in (200, 400, 403, 404, 405, 413, 415), (number, answer)
        if answer.status != 200 and method not in ("HEAD",):
            assert set(answer.json) == {"error"}, (number, answer)
            assert "\n" not in answer.json["error"]
            assert "Traceback" not in answer.json["error"]
    watching = False
    assert set(statuses) == {200, 400, 403, 404, 405, 413, 415}
    assert sum(status != 200 for status in statuses) > 400
    assert not [path for path in written if not path.startswith(cache)]
    assert not list(tmp_path.iterdir())
    assert post(server, "/draw", {"wishes": [{"seed": 1}]}).status == 200
    assert not list(itertools.islice(tmp_path.rglob("*"), 1))


def test_a_generator_without_latents_or_names_is_described() -> None:
    gan = model(Translator(image_shape=(8, 8, 3), input_shape=(8, 8, 1)), Judge(image_shape=(8, 8, 3)))
    explorer = Explorer(maker_of(gan))
    try:
        facts = facts_of(explorer, "tiny", 0)
        assert (facts["latents"], facts["input"], facts["classes"], facts["projects"]) == (False, [8, 8, 1], [], False)
        with pytest.raises(UserError, match="starts from a picture"):
            explorer.images([Wish(Place(0))])
    finally:
        explorer.close()
