"""The gallery: every config of configs/gallery/ at one budget of training, one table and one sheet of samples.

    python benchmarks/gallery.py --path fashion_mnist.npz --minutes 3
    python benchmarks/gallery.py --path fashion_mnist.npz --minutes 3 --only dcgan cogan

The file has Fashion-MNIST's 60,000 images and labels, of which the last 10,000 are held out. Each config trains for the
images that it gets through in so many minutes of one core, by its speed over its first two thousand; compiling is not
counted. The speeds are measured first, so that cores which have other work later change no figure. What is there
already, of a run that was ended too, is not computed again. Fréchet distance, precision, recall
and coverage are in the features of a classifier of the dataset (``ganjax evaluate --network classifier``), and compare
among themselves alone. ``gallery_sheets.py`` beside this draws what single papers are about.
"""

import concurrent.futures
import ctypes
import dataclasses
import functools
import json
import os
import queue
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gallery_page
import gallery_sheets
import jax
import numpy as np
import tables
import tyro
from etils import epath

from ganjax import load_config
from ganjax.algorithms.generators import generator_names, generator_state, with_generator
from ganjax.data import Npz
from ganjax.evaluation.classifier import cached_classifier
from ganjax.evaluation.content import read_content
from ganjax.evaluation.measure import Evaluator
from ganjax.evaluation.protocol import parse_metrics
from ganjax.evaluation.reference import Reals
from ganjax.ground.grids import sheet
from ganjax.runs import subjects
from ganjax.runs.conditions import spread_labels
from ganjax.runs.config import Config
from ganjax.runs.sampling import Sampler, generate
from ganjax.runs.subjects import BATCH_SIZE_OF_A_DEVICE, generated, open_evaluator, stored
from ganjax.runs.train import train

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = {path.stem: path for path in sorted((ROOT / "configs" / "gallery").glob("*.py"))}
METRICS = "fid,prdc,modes,swd,diversity"
FOUND = 0.01  # the share of the samples that a class has when it is found: a tenth of its due
SIZE, PICTURED, PROBE = 32, 20, 2_000
REALS = "held-out reals"


@dataclasses.dataclass(frozen=True)
class Options:
    """What to train, and for how long.

    Attributes:
        path: an .npz with Fashion-MNIST's training images and labels.
        minutes: of training, for each config, on one core.
        only: names of configs; all by default.
        workers: processes at a time, each on a core of its own; 0 trains in this one.
        num: samples to measure.
        workdirs: the folder of the runs.
        results: where the table and the sheets are written.
        page: the document to write; None: none.
        seed: of training and of sampling.
        smoke: two steps of each config and few samples, to see that all of it works.
        worker: trains and measures this config in this process, and reports nothing.
        probe: the worker measures its config's speed instead.
        core: on which the worker stays.
    """

    path: str
    minutes: float = 3.0
    only: tuple[str, ...] = ()
    workers: int = 1
    num: int = 2_000
    workdirs: Path = Path("runs/gallery")
    results: Path = tables.RESULTS
    page: Path | None = ROOT / "docs" / "gallery.md"
    seed: int = 0
    smoke: bool = False
    worker: str | None = None
    probe: bool = False
    core: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What a row depends on."""
        return {"minutes": self.minutes, "num": self.num, "seed": self.seed, "smoke": self.smoke}


@dataclasses.dataclass(frozen=True)
class Bench:
    """What all configs are measured with."""

    options: Options

    def data(self, name: str) -> Npz:
        """``train`` or ``held_out``."""
        return Npz(self.options.workdirs / f"{name}.npz", size=SIZE, upsample=True)

    def split(self) -> None:
        """Writes both parts of the dataset, where they are not there."""
        if all((self.options.workdirs / f"{name}.npz").exists() for name in ("train", "held_out")):
            return
        with np.load(self.options.path) as archive:
            images, labels = (archive[name] for name in ("images", "labels"))
        count = len(images) * 5 // 6
        self.options.workdirs.mkdir(parents=True, exist_ok=True)
        for name, part in (("held_out", slice(count, None)), ("train", slice(count))):
            np.savez(self.options.workdirs / f"{name}.npz", images=images[part], labels=labels[part])

    def evaluator(self, fakes: Any, reals: Reals) -> Evaluator:
        """Measures samples; the classifier is trained the first time."""
        options = self.options
        shared: Any = {"num": options.num, "seed": options.seed, "batch_size": BATCH_SIZE_OF_A_DEVICE}
        evaluator, refused = open_evaluator(
            parse_metrics(METRICS), "classifier", fakes, reals=reals, dataset=self.data("train"), **shared
        )
        if refused:
            raise SystemExit(f"not all can be measured: {refused}")
        return evaluator

    def measure(self, fakes: Any, reals: Reals) -> tuple[dict[str, Any], Evaluator]:
        """The numbers of samples, and what measured them."""
        evaluator = self.evaluator(fakes, reals)
        results, refused = evaluator(fakes)
        if refused:
            raise SystemExit(f"not all can be measured: {refused}")
        found: dict[str, Any] = {result.metric: result.value for result in results}
        images = np.concatenate([chunk.images for chunk in fakes.chunks(self.options.num)])[: self.options.num]
        shares = np.bincount(evaluator.predictions(images), minlength=10) / len(images)
        found |= {"classes": int(np.sum(shares >= FOUND)), "shares": shares.tolist()}
        return found | {"classifier_accuracy": results[0].stamp.classifier_accuracy}, evaluator

    def reals(self) -> Reals:
        """What is compared with."""
        source = self.data("train").open()
        return Reals(source, read_content(source), "all")

    def of_reals(self) -> dict[str, Any]:
        """The row of images that nobody generated."""
        source, reals = self.data("held_out").open(), self.reals()
        fakes = stored(source, name=REALS, seed=self.options.seed, batch_size=BATCH_SIZE_OF_A_DEVICE, reals=reals)
        found, _ = self.measure(fakes, reals)
        images = np.stack([source[index]["images"] for index in range(PICTURED)])
        return {"model": REALS, "samples": images.tolist(), **found}


def config_of(bench: Bench, name: str, images: int) -> Config:
    """A config of the gallery, as it is but for its length, its data and its seed."""
    flags = ["--total-images", str(images), "--path", str(bench.options.workdirs / "train.npz")]
    flags += ["--run.seed", str(bench.options.seed), "--run.keep-checkpoints", "1"]
    return load_config(CONFIGS[name], flags)


def speed(workdir: epath.Path) -> float:
    """Images/s: the median over the second half of the log."""
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    found = [line["speed/images_per_second"] for line in lines if "speed/images_per_second" in line]
    return statistics.median(found[len(found) // 2 :])


def probed(options: Options, name: str) -> Path:
    """The file that has a config's speed, once it was measured."""
    return options.workdirs / name / "speed.json"


def probe(bench: Bench, name: str) -> None:
    """Measures how many images/s a config trains with, and keeps it."""
    workdir = epath.Path(bench.options.workdirs / name / "probe")
    train(config_of(bench, name, 64 if bench.options.smoke else PROBE), workdir)
    write(probed(bench.options, name), {"images_per_second": speed(workdir)})


def work(bench: Bench, name: str) -> None:
    """Trains and measures a config, and writes its row and its sheets."""
    options, place = bench.options, bench.options.workdirs / name
    place.mkdir(parents=True, exist_ok=True)
    speed = json.loads(probed(options, name).read_text())["images_per_second"]
    images = 64 if options.smoke else max(PROBE, round(speed * options.minutes * 60))
    workdir, config = epath.Path(place / "run"), config_of(bench, name, images)
    state: Any = train(config, workdir)
    model, reals = config.gan, bench.reals()
    seen, seen_state = model, state
    if "0" in generator_names(model) and model.generator.num_classes:  # one of the domains is the dataset's
        seen, seen_state = with_generator(model, "0"), generator_state(state, "0")
    sampler = Sampler(seen, seed=options.seed)
    fakes = generated(sampler, seen_state, reals=reals, batch_size=BATCH_SIZE_OF_A_DEVICE, name=name, num=options.num)
    found, evaluator = bench.measure(fakes, reals)
    samples = generate(sampler, seen_state, spread_labels(PICTURED, seen.generator.num_classes))
    figures, pictures = gallery_sheets.of(
        name,
        gallery_sheets.Subject(
            config=config,
            state=state,
            evaluator=evaluator,
            train=bench.data("train").open(),
            held_out=bench.data("held_out").open(),
            num=options.num,
            seed=options.seed,
            quick=options.smoke,
        ),
    )
    options.results.mkdir(parents=True, exist_ok=True)
    for title, picture in pictures.items():
        picture.save(options.results / f"gallery_{name}_{title}.png")
    told = introduction(name)
    write(
        place / "row.json",
        {
            "model": name,
            **told,
            "lines": len(CONFIGS[name].read_text().splitlines()),
            "images": int(state.step) * config.run.batch_size,
            "images_per_second": speed,
            "parameters": {
                player: sum(leaf.size for leaf in jax.tree.leaves(it.params)) for player, it in state.players.items()
            },
            **found,
            "figures": figures,
            "pictures": [f"gallery_{name}_{title}.png" for title in pictures],
            "samples": samples.tolist(),
            "settings": options.settings,
        },
    )


def introduction(name: str) -> dict[str, Any]:
    """What the first line of a config says of its paper."""
    first = CONFIGS[name].read_text().partition("\n")[0].strip('"')
    found = re.fullmatch(r"(.+?) \((.+) (\d{4}), arXiv ([\d.]+)\): (.+)", first)
    if found is None:
        raise SystemExit(f"{CONFIGS[name]} begins with {first!r}; expected NAME (AUTHORS YEAR, arXiv NUMBER): WHAT")
    return dict(zip(("title", "authors", "year", "arxiv", "changed"), found.groups(), strict=True))


def write(path: Path, content: Any) -> None:
    """Whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(content))
    unfinished.replace(path)


def row_of(options: Options, name: str) -> dict[str, Any] | None:
    """A row that is there already and was made with these settings."""
    path = options.workdirs / name / "row.json"
    row = json.loads(path.read_text()) if path.exists() else {}
    return row if row.get("settings") == options.settings else None


def hand_out(options: Options, names: list[str], *flags: str) -> dict[str, str]:
    """Works through configs, one or two at a time, each on a core. Returns what went wrong, by name."""
    if not options.workers:
        for name in names:
            (probe if flags else work)(Bench(options), name)
        return {}
    cores: queue.Queue[int] = queue.Queue()
    for core in sorted(os.sched_getaffinity(0))[: options.workers]:
        cores.put(core)
    begun, failed, done = time.monotonic(), {}, []

    def one(name: str) -> None:
        core = cores.get()
        log = options.workdirs / f"{name}.log"
        command = [sys.executable, __file__, *sys.argv[1:], "--worker", name, "--core", str(core), *flags]
        with log.open("w") as file:
            code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
        cores.put(core)
        done.append(name)
        if code:
            failed[name] = log.read_text().strip().splitlines()[-1]
        spent = (time.monotonic() - begun) / 60
        print(f"{len(done)} of {len(names)}, {spent:.0f} minutes: {name} {failed.get(name, 'done')}", flush=True)

    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        list(pool.map(one, names))
    return failed


def bind(core: int) -> None:
    """Keeps this process on a core, before JAX counts them, and ends it with the one that started it."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    os.sched_setaffinity(0, {core})


def main(options: Options) -> None:
    """Trains, measures, and writes the table, the sheets and the page."""
    unknown = [name for name in options.only if name not in CONFIGS]
    if unknown:
        raise SystemExit(f"no config {unknown[0]} is in the gallery; expected some of {', '.join(CONFIGS)}")
    bench = Bench(options)
    if options.smoke:
        subjects.cached_classifier = functools.partial(cached_classifier, total_images=640)
    if options.worker:
        if options.core is not None:
            bind(options.core)
        (probe if options.probe else work)(bench, options.worker)
        return
    bench.split()
    reals = options.workdirs / f"reals_{options.num}.json"
    if not reals.exists():
        write(reals, bench.of_reals())  # trains the classifier, too, which the workers find in the cache
    names = list(options.only or CONFIGS)
    lacking = [name for name in names if row_of(options, name) is None]
    failed = hand_out(options, [name for name in lacking if not probed(options, name).exists()], "--probe")
    failed |= hand_out(options, [name for name in lacking if name not in failed])
    rows = [row for name in names if (row := row_of(options, name))]
    for row in rows:
        row |= introduction(row["model"]) | {"lines": len(CONFIGS[row["model"]].read_text().splitlines())}
    rows = [*sorted(rows, key=lambda row: (row["year"], row["arxiv"])), json.loads(reals.read_text())]
    options.results.mkdir(parents=True, exist_ok=True)
    pictured = {row.get("title", row["model"]): np.array(row.pop("samples"), np.uint8) for row in rows}
    sheet(pictured).save(options.results / "gallery.png")
    tables.RESULTS = options.results
    command = f"python benchmarks/gallery.py --path {Path(options.path).name} --minutes {options.minutes:g}"
    note = gallery_page.note(rows, options)
    tables.write(
        "gallery", title=gallery_page.TITLE, command=command, rows=rows, columns=gallery_page.COLUMNS, note=note
    )
    if options.page is not None:
        options.page.write_text(gallery_page.page(rows, command, note, options.results, options.page))
    for name, problem in failed.items():
        print(f"{name} failed: {problem}; see {options.workdirs / name}.log, and run the same command again")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
