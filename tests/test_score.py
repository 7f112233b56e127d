"""`ganjax score`, and `ganjax sample` with --refine and --keep-best: what a run's discriminator is asked."""

import csv
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import tiny_run
from PIL import Image

from ganjax import UserError, load_config
from ganjax.cli import main
from ganjax.runs.judging import find_judge
from ganjax.runs.sampling import restore_state
from ganjax.runs.workdir import load_workdir, workdir_path


def score(workdir: Path, out: Path, *flags: str) -> int:
    return main(["score", "--workdir", str(workdir), "--out", str(out), *flags])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("held") / "held.npz"
    images, labels = tiny_run.reals(40, seed=5)
    np.savez(path, images=images, labels=labels)
    return path


def test_pictures_are_ranked_by_what_the_discriminator_says_of_each_alone(tmp_path, held_out, capsys, caplog) -> None:
    workdir = tiny_run.trained(3)
    images, labels = tiny_run.reals(12, seed=8)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = tmp_path / "photos" / f"{label}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[:, :, 0]).save(place / f"{number}.png")
    assert score(workdir, tmp_path / "a.csv", "--inputs", str(tmp_path / "photos"), "--held-out", str(held_out)) == 0
    said = capsys.readouterr()
    assert "12 pictures, on average real with probability 0." in said.out
    assert "learnt from 40 real pictures and as many samples; calibration error 0." in said.out
    assert "give --held-out" not in caplog.text
    with Image.open(tmp_path / "a.reliability.png") as diagram:
        assert diagram.size == (484, 582)
    table = rows(tmp_path / "a.csv")
    assert [row["rank"] for row in table] == [str(rank) for rank in range(1, 13)]
    assert sorted(row["name"] for row in table) == sorted(f"{label}/{n}.png" for n, label in enumerate(labels))
    probabilities = [float(row["probability"]) for row in table]
    assert probabilities == sorted(probabilities, reverse=True)
    # What the network says, asked of all at once.
    config = load_workdir(workdir_path(str(workdir)))
    player = restore_state(config, workdir_path(str(workdir))).players["discriminator"]
    variables = {"params": player.params, **player.variables}

    def said_of(labels: np.ndarray) -> np.ndarray:
        shown = jnp.asarray(images / np.float32(127.5) - 1)
        return np.asarray(find_judge(config.gan).network.apply(variables, shown, jnp.asarray(labels), train=False))

    logits = said_of(labels)
    for row in table:
        number = int(Path(row["name"]).stem)
        assert row["label"] == str(labels[number])
        assert float(row["logit"]) == pytest.approx(float(logits[number]), abs=1e-4)
    # An array of the same, and one class for all.
    np.savez(tmp_path / "same.npz", images=images)
    assert score(workdir, tmp_path / "b.csv", "--inputs", str(tmp_path / "same.npz"), "--label", "1") == 0
    assert "give --held-out" in caplog.text
    best = rows(tmp_path / "b.csv")[0]
    assert best["name"] == f"record {int(np.argmax(said_of(np.ones(12, np.int32))))}"


def test_without_pictures_samples_are_ranked_and_kept_best_are_the_first_of_them(tmp_path, held_out, capsys) -> None:
    workdir = tiny_run.trained(3)
    flags = ["--num-samples", "12", "--held-out", str(held_out), "--calibration", "isotonic"]
    assert score(workdir, tmp_path / "s.csv", *flags) == 0
    of_class = {label: [row for row in rows(tmp_path / "s.csv") if row["label"] == label] for label in "012"}
    best = [max(of_class[label], key=lambda row: float(row["logit"]))["name"] for label in "012"]
    sample = ["sample", "--workdir", str(workdir), "--num", "12"]
    assert main([*sample, "--out", str(tmp_path / "all.npz")]) == 0
    capsys.readouterr()
    assert main([*sample, "--out", str(tmp_path / "best.npz"), "--keep-best", "3"]) == 0
    assert "the best 3 of 12 samples at 640 images" in capsys.readouterr().out
    everyone, kept = np.load(tmp_path / "all.npz"), np.load(tmp_path / "best.npz")
    assert kept["labels"].tolist() == [0, 1, 2]
    numbers = [int(name.removeprefix("sample ")) for name in best]
    np.testing.assert_array_equal(kept["images"], everyone["images"][numbers])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    out = tmp_path_factory.mktemp("plain") / "p.npz"
    assert main(["sample", "--workdir", str(tiny_run.trained()), "--out", str(out), "--num", "5", "--seed", "3"]) == 0
    return np.load(out)["images"]


@pytest.mark.parametrize("method", ["drs", "drs --refine-percentile exact", "mh", "ddls"])
def test_refined_samples_are_the_same_however_many_are_asked_for(
    tmp_path, held_out, plain, capsys, method: str
) -> None:
    flags = ["--refine", *method.split(), "--refine-steps", "20", "--held-out", str(held_out), "--seed", "3"]
    made = {}
    for num in (3, 5):
        out = tmp_path / f"{num}.npz"
        assert main(["sample", "--workdir", str(tiny_run.trained()), "--out", str(out), "--num", str(num), *flags]) == 0
        made[num] = np.load(out)["images"]
        assert f"refined by {method.split()[0]}: " in (said := capsys.readouterr().out)
        assert " accepted (" in said
        if not method.startswith("drs"):
            assert f" of {20 * num} accepted (" in said
    np.testing.assert_array_equal(made[3], made[5][:3])
    assert not np.array_equal(plain, made[5])


def test_the_odd_one_of_a_training_set_is_found(tmp_path) -> None:
    images, _ = tiny_run.reals(40, seed=2)
    images[17] = np.random.default_rng(0).integers(0, 256, (8, 8, 1))
    np.savez(tmp_path / "set.npz", images=images)
    flags = ["--outliers", "--inputs", str(tmp_path / "set.npz")]
    assert score(tiny_run.trained(), tmp_path / "odd.csv", *flags) == 0
    table = rows(tmp_path / "odd.csv")
    assert table[0]["name"] == "record 17"
    assert list(table[0]) == ["rank", "name", "label", "distance", "logit", "rank by logit"]
    by_logit = sorted(table, key=lambda row: float(row["logit"]))
    assert [row["rank by logit"] for row in by_logit] == [str(rank) for rank in range(1, 41)]
    with Image.open(tmp_path / "odd.png") as sheet:
        assert sheet.size[0] > 500


REFUSALS = {
    ("--inputs", "none"): "none",
    (
        "--inputs",
        "flat",
    ): "flat has no classes, and this discriminator judges a picture as one of a class; give --label",
    ("--inputs", "others"): "others has the class(es) dog; give --label",
    ("--inputs", "broken"): "broken/1.png",
    ("--label", "7"): "--label is 7; expected a class from 0 to 2",
    ("--discriminator", "other"): "--discriminator is other; this model has discriminator: give one of these",
    ("--network", "pixels"): "--network is pixels; it is for --outliers",
    ("--num", "3"): "--num is 3; expected a number from 8 to 1000000",
    ("--step", "7"): "no checkpoint of step 7",
}


@pytest.mark.parametrize("flags", REFUSALS, ids="=".join)
def test_what_cannot_be_scored_is_told_and_nothing_written(tmp_path, monkeypatch, capsys, flags) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("flat/1.png", "others/dog/1.png"):
        Path(place).parent.mkdir(parents=True)
        Image.new("L", (8, 8)).save(place)
    Path("broken").mkdir()
    Path("broken/1.png").write_text("no picture")
    workdir = tiny_run.trained(3)  # which says so where it is the first to need one
    capsys.readouterr()
    assert score(workdir, tmp_path / "s.csv", *flags) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "give --held-out" not in line]
    assert line.startswith("ganjax: ")
    assert REFUSALS[flags].partition(";")[0] in line
    assert not (tmp_path / "s.csv").exists()


SAMPLING = {
    "--refine-steps 5": "--refine-steps is 5 and nothing is refined; give --refine too",
    "--held-out x": "--held-out is x and nothing is refined",
    "--refine mh --refine-percentile 80": "--refine-percentile is 80.0, and --refine mh; it is for drs",
    "--refine ddls --refine-percentile exact": "--refine-percentile is exact, and --refine ddls; it is for drs",
    "--refine drs --refine-percentile 100": "--refine-percentile is 100.0; expected a number",
    "--refine mh --refine-step-size 1": "--refine-step-size is 1.0, and --refine mh; it is for ddls",
    "--keep-best 9": "--keep-best is 9 of --num 4 samples; ask for more, or keep fewer",
    "--keep-best 2 --discriminator x": "--discriminator is x; this model has discriminator",
    "--discriminator x": "--discriminator is x and it is asked of nothing; give --refine or --keep-best",
    "--refine mh --held-out x": "x",
}


@pytest.mark.parametrize("flags", SAMPLING)
def test_what_cannot_be_refined_is_told(tmp_path, capsys, flags: str) -> None:
    out = ["--out", str(tmp_path / "s.npz"), "--num", "4"]
    assert main(["sample", "--workdir", str(tiny_run.trained()), *out, *flags.split()]) == 2
    assert SAMPLING[flags] in capsys.readouterr().err
    assert not (tmp_path / "s.npz").exists()


def test_a_model_without_a_discriminator_has_none_to_ask() -> None:
    with pytest.raises(UserError, match="VAE has no discriminator to ask; name the --workdir of a GAN"):
        find_judge(load_config("vae_digits").gan)
