"""The evaluator on arrays: numbers, protocols, the cache of the reals, and how samples are drawn."""

import dataclasses
import logging
from pathlib import Path

import jax
import numpy as np
import pytest
from etils import epath
from linear_gan import make_gan
from tiny_evaluation import projection, reals, source, stamp

from ganjax import UserError, init
from ganjax.data import StackedMnist
from ganjax.evaluation.distances import frechet_distance, inception_score, kernel_distance
from ganjax.evaluation.fakes import Chunk
from ganjax.evaluation.measure import Evaluator
from ganjax.evaluation.protocol import Result, parse_metrics
from ganjax.evaluation.results import keep_results, merge_results, read_results, write_results
from ganjax.evaluation.statistics import Moments
from ganjax.evaluation.tables import compare
from ganjax.models import mlp
from ganjax.models.condition import Condition
from ganjax.platform.sharding import batch_sharding, data_mesh, replicated
from ganjax.runs.sampling import Sampler, _compute, generate
from ganjax.runs.subjects import generated, open_classifier, stored


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANJAX_CACHE", str(tmp_path / "cache"))


def measure(metrics: str, fake, real, *, num: int = 200, seed: int = 0, batch_size: int = 64) -> dict[str, Result]:
    names = parse_metrics(metrics)
    networks = {"network": projection(), "classifier": projection()}
    evaluator = Evaluator(names, networks, reals=real, num=num, seed=seed, batch_size=batch_size)
    fakes = stored(fake, name="fake", seed=seed, batch_size=batch_size, reals=real)
    results, refused = evaluator(fakes)
    assert not refused
    return {result.metric: result for result in results}


def test_numbers_are_those_of_the_features() -> None:
    real, fake = source(), source(250, seed=1)
    found = measure("fid,kid,is,prdc,accuracy,class-fid,modes", fake, reals(real), num=250)
    network = projection()
    real_features = np.asarray(network(real.load()["images"]).features)
    fake_features, probabilities = map(np.asarray, network(fake.load()["images"]))
    expected = frechet_distance(Moments.of(real_features), Moments.of(fake_features))
    assert found["fid"].value == pytest.approx(expected, rel=1e-5)
    assert (found["fid"].stamp.num_real, found["fid"].stamp.num_fake) == (300, 250)
    # Of the reals 250 were drawn, so the distance is of other subsets than a direct one: compare with their spread.
    direct = kernel_distance(real_features, fake_features, subset_size=100)
    assert abs(found["kid"].value - direct.mean) < 3 * direct.deviation
    assert found["is"].value == pytest.approx(inception_score(probabilities).mean, rel=0.05)  # other splits
    labels = fake.load()["labels"]
    assert found["accuracy"].value == pytest.approx(np.mean(probabilities.argmax(axis=1) == labels))
    assert found["accuracy"].details["1"] == pytest.approx(np.mean(probabilities.argmax(axis=1)[labels == 1] == 1))
    assert found["modes"].value == 3
    # With as many reals as are asked for, all are used.
    found = measure("class-fid", fake, reals(source(250)), num=250)["class-fid"]
    real_labels = source(250).load()["labels"]
    few = np.asarray(network(source(250).load()["images"]).features)
    for label in range(3):
        parts = Moments.of(few[real_labels == label]), Moments.of(fake_features[labels == label])
        assert found.details[str(label)] == pytest.approx(frechet_distance(*parts), rel=1e-5)
    assert found.value == pytest.approx(np.mean(list(found.details.values())))


def test_the_batch_size_changes_nothing() -> None:
    real, fake = reals(source()), source(250, seed=1)
    one, other = (measure("fid,prdc", fake, real, batch_size=size) for size in (40, 200))
    for name in one:
        assert one[name].value == pytest.approx(other[name].value, rel=1e-6)
        assert one[name].stamp == other[name].stamp


def test_reals_come_from_the_cache_unless_they_changed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "cache" / "references"
    real, fake = source(), source(250, seed=1)
    first = measure("fid", fake, reals(real))["fid"].value
    (path,) = folder.iterdir()
    written = path.stat().st_mtime_ns
    assert measure("fid", fake, reals(real))["fid"].value == first
    assert path.stat().st_mtime_ns == written
    real.load()["images"][0, 0, 0, 0] ^= 255  # one pixel
    assert measure("fid", fake, reals(real))["fid"].value != first
    assert len(list(folder.iterdir())) == 2
    real.load()["images"][0, 0, 0, 0] ^= 255
    assert not caplog.records

    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    assert measure("fid", fake, reals(real))["fid"].value == first
    assert "is damaged" in caplog.text
    other = next(file for file in folder.iterdir() if file != path)
    path.write_bytes(other.read_bytes())  # what another dataset left, under this one's name
    assert measure("fid", fake, reals(real))["fid"].value == first
    assert "is stale" in caplog.text


def test_few_images_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    measure("fid", source(250, seed=1), reals(source()), num=8)
    assert "fid of 8 images with 8 features" in caplog.text
    assert "biased upwards" in caplog.text
    caplog.clear()
    measure("fid,kid", source(250, seed=1), reals(source()), num=200)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_samples_are_those_of_ganjax_sample_whatever_the_batch() -> None:
    gan = make_gan(num_classes=4)
    state = jax.device_put(init(gan, jax.random.key(0)), replicated(data_mesh()))
    sampler = Sampler(gan, seed=5)
    chunks = {
        size: list(generated(sampler, state, reals=None, batch_size=size, name="run", num=2).chunks(100))
        for size in (16, 40, 7)
    }
    labels = np.concatenate([chunk.labels for chunk in chunks[16]])
    np.testing.assert_array_equal(labels, np.arange(100) % 4)
    expected = generate(sampler, jax.device_put(state, jax.devices()[0]), labels)
    for found in chunks.values():
        np.testing.assert_array_equal(np.concatenate([chunk.images for chunk in found]), expected)


def test_classes_are_as_frequent_as_among_the_reals() -> None:
    gan = make_gan(num_classes=3)
    state = jax.device_put(init(gan, jax.random.key(0)), replicated(data_mesh()))
    data = source()
    fakes = generated(Sampler(gan), state, reals=reals(data), batch_size=64, name="run", num=2)
    labels = np.concatenate([chunk.labels for chunk in fakes.chunks(600)])
    np.testing.assert_array_equal(np.bincount(labels), 2 * np.bincount(data.load()["labels"]))


def test_generation_is_spread_over_the_devices() -> None:
    gan = dataclasses.replace(make_gan(), generator=mlp.Generator(image_shape=(2, 2, 1), hidden=(64, 64)))
    state = init(gan, jax.random.key(0))
    labels = np.zeros(64, np.int32)
    work = []
    for devices in (1, 8):
        mesh = jax.make_mesh(
            (devices,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:devices]
        )
        arguments = jax.device_put((labels, Condition(labels)), batch_sharding(mesh))
        whole, seed = jax.device_put((state, np.uint32(0)), replicated(mesh))
        compiled = _compute.lower(Sampler(gan), mesh, whole, [], seed, *arguments).compile()
        costs = compiled.cost_analysis()
        assert costs is not None
        work.append(costs["flops"])
    assert work[1] < work[0] / 7


def test_stamps_say_what_differs() -> None:
    one = Result(metric="fid", value=3.0, stamp=stamp())
    moved = Result(metric="fid", value=2.0, stamp=stamp(checkpoint_step=2))
    resized = Result(metric="fid", value=4.0, stamp=stamp(resize="clean", num_fake=50))
    lines = "\n".join(compare([one], [moved]))
    assert "same protocol" in lines
    assert "measured checkpoint_step: 1 | 2" in lines
    lines = "\n".join(compare([one], [resized]))
    assert "do not compare" in lines
    assert "protocol resize: legacy | clean" in lines
    assert "protocol num_fake: 9 | 50" in lines
    assert "checkpoint_step" not in lines
    older = dataclasses.replace(stamp(), versions={**stamp().versions, "jax": "0.1"})
    assert "protocol versions.jax: 0.1 |" in "\n".join(compare([Result(metric="fid", value=3.0, stamp=older)], [one]))


def test_results_are_kept_once_a_protocol(tmp_path: Path) -> None:
    one = Result(metric="fid", value=3.0, stamp=stamp(), details={"0": 1.0})
    again, other = (dataclasses.replace(one, value=5.0), dataclasses.replace(one, stamp=stamp(seed=1)))
    assert merge_results([one], [again, other]) == [again, other]
    path = epath.Path(tmp_path / "results.json")
    write_results([one, other], path)
    assert read_results(path) == [one, other]
    assert len(keep_results([one], epath.Path(tmp_path), images_seen=64)) == 1
    (_, line) = keep_results([other], epath.Path(tmp_path), images_seen=64)
    assert "fid was 3 in 0000000064.json under another protocol" in line
    assert "seed 0 -> 1" in line
    assert len(read_results(epath.Path(tmp_path) / "evaluation" / "0000000064.json")) == 2


def test_mistakes(tmp_path: Path) -> None:
    for text, message in {
        "fidd": "unknown metric 'fidd'; perhaps you meant fid",
        "recall": "perhaps you meant prdc",
        "xyzzy": "expected some of fid, rfid, kid",
        " , ": "no metric",
    }.items():
        with pytest.raises(UserError, match=message):
            parse_metrics(text)
    assert parse_metrics(" FID, kid,fid") == ("fid", "kid")
    with pytest.raises(UserError, match="does not exist"):
        read_results(epath.Path(tmp_path / "none.json"))
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(UserError, match="does not hold results"):
        read_results(epath.Path(tmp_path / "other.json"))


def test_modes_of_stacked_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits that a look at one pixel tells apart: the reals have all modes, one class of them has one."""
    labels = np.arange(40) % 10
    images = np.broadcast_to((20 * labels + 1)[:, None, None], (40, 28, 28)).astype(np.uint8)
    np.savez(tmp_path / "mnist.npz", images=images, labels=labels)
    dataset = StackedMnist(tmp_path / "mnist.npz", num_images=20_000)
    monkeypatch.setattr("ganjax.runs.subjects.cached_classifier", lambda digits: _Exact())
    data = reals(dataset.open())
    classifier = open_classifier(dataset, data)
    assert classifier.num_classes == 1000
    evaluator = Evaluator(("modes",), {"classifier": classifier}, reals=data, num=20_000, seed=0, batch_size=2_000)
    everything = stored(data.source, name="real", seed=0, batch_size=2_000, reals=data)
    found = evaluator(everything).results
    assert [result.value for result in found] == pytest.approx([1000, 0], abs=1e-9)
    arrays = data.source.load()
    one = arrays["images"][arrays["labels"] == 123]
    found = evaluator(dataclasses.replace(everything, chunks=lambda num: iter([Chunk(one[:10], None)]))).results
    assert found[0].value == 1
    share = np.mean(arrays["labels"] == 123)
    assert found[1].value == pytest.approx(-np.log(share), rel=1e-6)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Exact:
    name: str = "exact"
    fingerprint: str = "0"
    accuracy: float = 1.0
    num_features: int = 2
    num_classes: int = 10

    def outputs(self, images):
        digits = (images[:, 14, 14, 0].astype(np.int32) - 1) // 20
        from ganjax.evaluation.classifier import Outputs

        return Outputs(images[:, :1, :2, 0].reshape(-1, 2).astype(np.float32), 50 * jax.nn.one_hot(digits, 10))
