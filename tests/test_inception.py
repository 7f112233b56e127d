"""Feature networks: how images reach them, where their weights come from, and how they are run on all devices."""

import io
import os
import pickle
import urllib.error
import zipfile

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh
from PIL import Image

from ganjax import UserError
from ganjax.evaluation import weights as weights_module
from ganjax.evaluation.convolution import convolution, pool
from ganjax.evaluation.features import FeatureNetwork, Features, feature_function, stream_features
from ganjax.evaluation.inception import PUBLISHED, InceptionV3, convert, load_inception
from ganjax.evaluation.resize import resize
from ganjax.evaluation.weights import PublishedWeights, load_weights, read_pytorch, sha256_of
from ganjax.platform.cache import cache_folder


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# Resizing.


@pytest.mark.parametrize(("height", "width"), [(32, 32), (28, 40), (299, 299), (512, 300)])
def test_clean_resize_is_pillows_bicubic(height, width):
    images = pictures(1, height, width, 3)
    found = np.asarray(resize(jnp.asarray(images), 299, way="clean"))
    channels = [
        Image.fromarray(images[0, :, :, channel].astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC)
        for channel in range(3)
    ]
    expected = np.stack([np.asarray(channel) for channel in channels], axis=-1).clip(0, 255)
    np.testing.assert_allclose(found[0], expected, atol=2e-4)


@pytest.mark.parametrize("size", [32, 40, 299, 512])
def test_legacy_resize_from_its_definition(size):
    images = pictures(1, size, size, 1)
    found = np.asarray(resize(jnp.asarray(images), 299, way="legacy"))[0, :, :, 0]
    values = images[0, :, :, 0].astype(np.float64)
    points = (np.arange(299, dtype=np.float32) * np.float32(size / 299)).astype(np.float64)
    lower = np.floor(points).astype(int)
    upper, fraction = np.minimum(lower + 1, size - 1), points - lower
    rows = values[lower] * (1 - fraction)[:, None] + values[upper] * fraction[:, None]
    expected = rows[:, lower] * (1 - fraction) + rows[:, upper] * fraction
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_resizes_keep_a_constant_and_differ():
    images = jnp.asarray(pictures(1, 32, 32, 3))
    ways = {way: np.asarray(resize(images, 299, way=way)) for way in ("legacy", "pytorch", "clean")}
    for first, second in (("legacy", "pytorch"), ("pytorch", "clean"), ("legacy", "clean")):
        assert np.abs(ways[first] - ways[second]).mean() > 1
    for way in ("legacy", "pytorch", "clean"):
        flat = np.asarray(resize(jnp.full((1, 37, 53, 1), 200, jnp.uint8), 64, way=way))
        np.testing.assert_allclose(flat, 200, rtol=1e-5)


# The network's parts.


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_pools_from_their_definition(padded, stride):
    maps = np.random.default_rng(0).standard_normal((2, 9, 7, 3)).astype(np.float32)
    spread = np.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=np.nan) if padded else maps
    windows = np.lib.stride_tricks.sliding_window_view(spread, (3, 3), axis=(1, 2))[:, ::stride, ::stride]
    maximum = pool(jnp.asarray(maps), "maximum", stride=stride, padded=padded)
    np.testing.assert_allclose(maximum, np.nanmax(windows, axis=(-2, -1)), rtol=1e-6)
    average = pool(jnp.asarray(maps), "average", stride=stride, padded=padded)
    np.testing.assert_allclose(average, np.nanmean(windows, axis=(-2, -1)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (1, 7), (7, 1), (5, 5)])
@pytest.mark.parametrize(("stride", "padded"), [(1, True), (1, False), (2, False)])
def test_convolution_from_its_definition(shape, stride, padded):
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((2, 11, 9, 3)).astype(np.float32)
    kernel = rng.standard_normal((*shape, 3, 4)).astype(np.float32)
    rows, columns = (size // 2 if padded else 0 for size in shape)
    spread = np.pad(maps, ((0, 0), (rows, rows), (columns, columns), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(spread, shape, axis=(1, 2))[:, ::stride, ::stride]
    expected = np.einsum("bhwcij,ijco->bhwo", windows, kernel)
    found = convolution(jnp.asarray(maps), jnp.asarray(kernel), stride=stride, padded=padded)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_inception_has_the_published_size():
    shapes = jax.eval_shape(InceptionV3().init, jax.random.key(0), jnp.zeros((1, 299, 299, 3)))["params"]
    # Keras gives 21,802,784 numbers without the last layer: three of them for each of the 17,216 normalised channels,
    # which are one bias when normalisation is folded in.
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 21_802_784 - 2 * 17_216 + 2049 * 1008


def test_weights_of_another_network_are_refused():
    with pytest.raises(UserError, match=r"have no 'Conv2d_1a_3x3.conv.weight': use pt_inception-2015"):
        convert({"layer": np.zeros(3)})


# Where weights come from.


class Malicious:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def zip_file(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
    return path


def test_a_pickle_that_runs_something_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in (
        ("zip.pth", zip_file(tmp_path / "zip.pth", pickle.dumps(Malicious())).read_bytes()),
        ("legacy.pth", pickle.dumps(Malicious())),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=r"system, which is no part of a tensor"):
            read_pytorch(tmp_path / name)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps([1, 2])])
def test_a_file_that_is_something_else_is_refused(tmp_path, content):
    (tmp_path / "file.pth").write_bytes(content)
    with pytest.raises(UserError, match="is not a PyTorch file of tensors by name"):
        read_pytorch(tmp_path / "file.pth")
    zip_file(tmp_path / "zip.pth", content)
    with pytest.raises(UserError, match="is not a PyTorch file of tensors by name"):
        read_pytorch(tmp_path / "zip.pth")


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("GANJAX_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("GANJAX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "ganjax"


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GANJAX_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def test_missing_weights_say_where_they_belong(cache):
    with pytest.raises(UserError) as caught:
        load_inception()
    message = str(caught.value)
    assert str(cache / PUBLISHED.name) in message
    assert PUBLISHED.url in message
    assert "\n" not in message


def test_weights_with_the_wrong_hash_are_refused(cache):
    (cache / PUBLISHED.name).write_bytes(b"something else")
    with pytest.raises(UserError) as caught:
        load_inception()
    assert PUBLISHED.sha256 in str(caught.value)
    assert sha256_of(cache / PUBLISHED.name) in str(caught.value)


def published_file(monkeypatch, content, arrays):
    """A published file of this content, which reads as these arrays."""
    monkeypatch.setattr(weights_module, "read_pytorch", lambda path: arrays)
    file = PublishedWeights("file.pth", "https://example.org/file.pth", "")
    digest = weights_module.hashlib.sha256(content).hexdigest()
    return PublishedWeights(file.name, file.url, digest)


class Response(io.BytesIO):
    headers = {"Content-Length": "7"}  # noqa: RUF012


def test_weights_are_fetched_only_when_asked_and_converted_once(cache, monkeypatch):
    published = published_file(monkeypatch, b"content", {"a": np.arange(3.0)})
    asked = []
    monkeypatch.setattr(
        weights_module.urllib.request, "urlopen", lambda url, timeout: asked.append(url) or Response(b"content")
    )
    with pytest.raises(UserError, match=r"is not there: fetch .* and put it there"):
        load_weights(published)
    assert not asked
    loaded = load_weights(published, download=True)
    assert asked == [published.url]
    assert loaded.sha256 == published.sha256
    (cache / "file.pth").unlink()  # what was converted is enough
    np.testing.assert_array_equal(load_weights(published).arrays["a"], np.arange(3.0))
    assert [path.name for path in cache.iterdir()] == [f"{published.sha256}.npz"]


def test_a_download_that_fails_or_is_altered_leaves_nothing(cache, monkeypatch):
    published = published_file(monkeypatch, b"content", {})
    monkeypatch.setattr(weights_module.urllib.request, "urlopen", lambda url, timeout: Response(b"altered"))
    with pytest.raises(UserError, match=f"expected {published.sha256}"):
        load_weights(published, download=True)

    def offline(url, timeout):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(weights_module.urllib.request, "urlopen", offline)
    with pytest.raises(UserError, match=r"cannot be fetched .*no network.*put the file at .*file.pth"):
        load_weights(published, download=True)
    assert list(cache.iterdir()) == []


# Any function of images plugs in.


@flax.struct.dataclass
class Linear:
    """A feature network that is a pytree."""

    kernel: jax.Array
    name: str = flax.struct.field(pytree_node=False, default="linear")
    fingerprint: str = flax.struct.field(pytree_node=False, default="0")
    num_features: int = flax.struct.field(pytree_node=False, default=5)
    resizes: tuple[str, ...] = flax.struct.field(pytree_node=False, default=("none",))
    resize: str = flax.struct.field(pytree_node=False, default="none")

    def __call__(self, images):
        flat = images.reshape(len(images), -1).astype(jnp.float32)
        products = flat @ self.kernel
        return Features(products, jax.nn.softmax(products))


class Mean:
    """One that is not, and has no classes."""

    name, fingerprint, num_features, resizes, resize = "mean", "0", 3, ("none",), "none"

    def __call__(self, images):
        return Features(jnp.mean(images.astype(jnp.float32), axis=(1, 2)))


@pytest.fixture
def linear():
    return Linear(jnp.asarray(np.random.default_rng(0).standard_normal((48, 5)).astype(np.float32)))


def test_what_counts_as_a_feature_network(linear):
    assert isinstance(linear, FeatureNetwork)
    assert isinstance(Mean(), FeatureNetwork)
    assert not isinstance(InceptionV3(), FeatureNetwork)


@pytest.mark.parametrize("num", [8, 64, 150])
def test_features_of_any_number_of_images(linear, num):
    images = pictures(num, 4, 4, 3)
    found = feature_function(linear)(images)
    expected = images.reshape(num, -1).astype(np.float32) @ np.asarray(linear.kernel)
    np.testing.assert_allclose(found.features, expected, rtol=1e-4, atol=1e-2)
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-5)


def test_features_are_streamed_and_the_last_batch_is_filled_up():
    images = pictures(50, 4, 4, 3)
    batches = list(stream_features(Mean(), [images[first : first + 16] for first in range(0, 50, 16)]))
    assert [len(batch.features) for batch in batches] == [16, 16, 16, 2]
    assert batches[0].probabilities is None
    found = np.concatenate([np.asarray(batch.features) for batch in batches])
    np.testing.assert_allclose(found, images.astype(np.float32).mean(axis=(1, 2)), rtol=1e-5)


def test_features_divide_their_work_over_the_devices(linear, monkeypatch):
    flops: dict[int, float] = {}
    compile_function = jax.jit

    def counting_jit(function, **keywords):
        compiled = compile_function(function, **keywords)

        def call(*arguments):
            cost = compiled.lower(*arguments).compile().cost_analysis()
            flops[devices] = max(flops.get(devices, 0), (cost or {})["flops"])
            return compiled(*arguments)

        return call

    monkeypatch.setattr(jax, "jit", counting_jit)
    for devices in (1, 8):
        mesh = Mesh(np.array(jax.devices()[:devices]), ("data",), axis_types=(AxisType.Auto,))
        monkeypatch.setattr("ganjax.evaluation.features._CPU_BATCH_SIZE", 64 // devices)
        feature_function(linear, mesh)(pictures(64, 4, 4, 3))
    assert flops[8] < 1.2 * flops[1] / 8
