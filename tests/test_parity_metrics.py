"""Feature networks, resizes and metrics against the packages that published numbers were computed with."""

import numpy as np
import pytest
from torch_inception import import_torchvision, random_inception, save_published_format

from ganjax.evaluation.distances import frechet_distance, inception_score, kernel_distance
from ganjax.evaluation.features import feature_function
from ganjax.evaluation.inception import load_inception
from ganjax.evaluation.neighbours import manifold_metrics
from ganjax.evaluation.resize import resize
from ganjax.evaluation.statistics import Moments
from ganjax.evaluation.weights import read_pytorch

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    """pytorch-fid's module, its network with random weights, and their file."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        network, module = random_inception(monkeypatch)
        path = save_published_format(network, tmp_path_factory.mktemp("weights") / "random.pth")
        yield module, network, path


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def to_torch(images):
    return torch.tensor(images).permute(0, 3, 1, 2)


def relative_error(found, expected):
    expected = expected.detach().numpy()
    if expected.ndim == 4:
        expected = expected.transpose(0, 2, 3, 1)
    found = np.asarray(found)
    return np.abs(found - expected.reshape(found.shape)).max() / np.abs(expected).max()


@pytest.mark.parametrize("legacy", [False, True])
def test_the_file_is_read_as_pytorch_reads_it(inception, tmp_path, legacy):
    _, network, _ = inception
    path = save_published_format(network, tmp_path / "weights.pth", legacy=legacy)
    found, expected = read_pytorch(path), network.state_dict()
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value.numpy())
        assert found[name].dtype == value.numpy().dtype


@pytest.mark.parametrize("size", [32, 299, 512])
def test_activations_equal_those_of_pytorch_fid(inception, size):
    module, network, path = inception
    images = pictures(2, size, size, 3, seed=size)
    with torch.no_grad():
        expected = module.InceptionV3([0, 1, 2, 3]).eval()(to_torch(images) / 255)
        logits = network.fc(expected[-1].flatten(1))
        unbiased = logits - network.fc.bias
    found = jax.jit(lambda network, images: network.outputs(images))(load_inception("pytorch", path), images)
    for found_layer, expected_layer in zip(found, [*expected, logits, unbiased], strict=True):
        assert relative_error(found_layer, expected_layer) < 1e-4


@pytest.mark.parametrize("size", [32, 299])
def test_activations_equal_those_of_torch_fidelity(inception, size):
    _, _, path = inception
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    names = ["64", "192", "768", "2048", "logits", "logits_unbiased"]
    extractor = module.FeatureExtractorInceptionV3("inception", names, feature_extractor_weights_path=str(path))
    images = pictures(2, size, size, 3, seed=size)
    expected = dict(zip(names, extractor(to_torch(images)), strict=True))
    found = jax.jit(lambda network, images: network.outputs(images))(load_inception("legacy", path), images)
    for name, maps in zip(names[:3], found, strict=False):
        assert relative_error(jnp.mean(maps, axis=(1, 2)), expected[name]) < 1e-4
    assert relative_error(found.features, expected["2048"]) < 1e-4
    assert relative_error(found.unbiased_logits, expected["logits_unbiased"]) < 1e-4


def test_the_feature_function_gives_what_the_network_does(inception):
    _, _, path = inception
    network = load_inception("legacy", path)
    images = pictures(3, 32, 32, 1)
    found = feature_function(network)(images)
    alone = network(jnp.asarray(np.repeat(images, 3, axis=-1)))
    np.testing.assert_allclose(found.features, alone.features, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(np.asarray(found.probabilities).sum(axis=1), 1, rtol=1e-4)


@pytest.mark.parametrize("size", [32, 100, 512])
@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_resizes_equal_the_originals(size):
    images = pictures(2, size, size, 3)
    import_torchvision()
    clean = pytest.importorskip("cleanfid.resize").make_resizer("PIL", False, "bicubic", (299, 299))
    expected = np.stack([clean(image) for image in images])
    np.testing.assert_allclose(resize(jnp.asarray(images), 299, way="clean"), expected, atol=2e-4)
    like_tensorflow = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow")
    expected = like_tensorflow.interpolate_bilinear_2d_like_tensorflow1x(
        to_torch(images).float(), size=(299, 299), align_corners=False
    )
    assert relative_error(resize(jnp.asarray(images), 299, way="legacy"), expected) < 1e-6
    expected = torch.nn.functional.interpolate(to_torch(images).float(), (299, 299), mode="bilinear")
    assert relative_error(resize(jnp.asarray(images), 299, way="pytorch"), expected) < 1e-5


def features(num, size, seed):
    """Correlated, of unequal variance, and not negative: like Inception's."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).standard_normal((size, size)) / size**0.5
    return np.maximum(rng.standard_normal((num, size)) @ mixing + 0.1 * seed, 0).astype(np.float32)


def moments_of_pytorch_fid(values):
    return np.mean(values.astype(np.float64), axis=0), np.cov(values.astype(np.float64), rowvar=False)


@pytest.fixture
def fid_score():
    import_torchvision()
    return pytest.importorskip("pytorch_fid.fid_score")


@pytest.mark.filterwarnings("ignore:The `disp` argument")
def test_frechet_distance_equals_pytorch_fid(fid_score):
    first, second = features(300, 64, 1), features(400, 64, 2)
    expected = fid_score.calculate_frechet_distance(*moments_of_pytorch_fid(first), *moments_of_pytorch_fid(second))
    np.testing.assert_allclose(frechet_distance(Moments.of(first), Moments.of(second)), expected, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:The `disp` argument", "ignore:Matrix is singular")
def test_frechet_distance_of_singular_covariances(fid_score):
    # With 30 images of 64 features, and with features that never vary. The reference takes the root of a product that
    # is singular: what it returns is right to about 1e-3 here, and ours is the value that a higher precision gives.
    first, second = features(30, 64, 1), features(40, 64, 2)
    first[:, :5] = second[:, :5] = 0
    found = frechet_distance(Moments.of(first), Moments.of(second))
    expected = fid_score.calculate_frechet_distance(*moments_of_pytorch_fid(first), *moments_of_pytorch_fid(second))
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    # The trace of the root is the nuclear norm of the product of the two sets of deviations, without any root.
    deviations = [part.astype(np.float64) - part.mean(axis=0, dtype=np.float64) for part in (first, second)]
    overlap = np.linalg.norm(deviations[0] @ deviations[1].T, "nuc") / np.sqrt(29 * 39)
    moments = [Moments.of(part) for part in (first, second)]
    exact = (
        np.sum((moments[0].mean - moments[1].mean) ** 2) + sum(np.trace(m.covariance) for m in moments) - 2 * overlap
    )
    np.testing.assert_allclose(found, exact, rtol=1e-9)


def test_distances_equal_torch_fidelity():
    import_torchvision()
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    isc = pytest.importorskip("torch_fidelity.metric_isc")
    real, fake = features(120, 32, 1), features(150, 32, 2)
    expected = kid.kid_features_to_metric(
        torch.tensor(fake).double(), torch.tensor(real).double(), kid_subsets=7, kid_subset_size=50, rng_seed=3
    )
    found = kernel_distance(real, fake, num_subsets=7, subset_size=50, seed=3)
    np.testing.assert_allclose(found, list(expected.values()), rtol=1e-9)

    statistics = [fid.fid_features_to_statistics(torch.tensor(part).double()) for part in (real, fake)]
    expected = fid.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    np.testing.assert_allclose(frechet_distance(Moments.of(real), Moments.of(fake)), expected, rtol=1e-6)

    logits = torch.tensor(features(90, 10, 3)).double() * 5
    expected = isc.isc_features_to_metric(logits, splits=4, shuffle=False)
    found = inception_score(logits.softmax(dim=1).float().numpy(), num_splits=4)
    np.testing.assert_allclose(found, list(expected.values()), rtol=1e-6)


@pytest.mark.parametrize("neighbours", [1, 5])
def test_manifold_metrics_equal_prdc(neighbours):
    prdc = pytest.importorskip("prdc")
    real, fake = features(200, 24, 1), features(170, 24, 2)
    expected = prdc.compute_prdc(real, fake, neighbours)
    found = manifold_metrics(real, fake, neighbours=neighbours)._asdict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6)
