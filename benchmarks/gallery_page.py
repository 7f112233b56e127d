"""What benchmarks/gallery.py writes of its rows: the columns of the table, the note below it, and docs/gallery.md."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TITLE = "The gallery: every paper at one budget on Fashion-MNIST"
THEIRS = 9_952
"""Lines of PyTorch-GAN's scripts, by ``wc -l`` of its last commit, of January 2021."""
PARTS = (
    *("algorithms/encoded.py", "algorithms/encoders.py", "algorithms/adversarial_autoencoder.py"),
    *("algorithms/bigan.py", "algorithms/cluster_gan.py", "algorithms/vae_gan.py", "algorithms/energy_losses.py"),
    *("algorithms/head_terms.py", "algorithms/logit_terms.py", "models/codes.py", "models/coupled.py"),
    *("models/joint.py", "models/energy.py", "data/few_labels.py", "data/domains.py"),
)
"""Of ganjax/, what is there for the papers of the gallery alone."""
TRANSLATIONS = ("pix2pix", "cycle_gan", "star_gan", "bicycle_gan", "munit", "cut", "srgan", "esrgan")
"""Papers from images to images, whose configs are those of docs/translation.md: they need other data."""
PARTS_OF_TRANSLATIONS = (
    *("algorithms/cycle_gan.py", "algorithms/pool.py", "algorithms/star_gan.py", "algorithms/bicycle_gan.py"),
    *("algorithms/munit.py", "algorithms/cut.py", "algorithms/perceptual.py", "models/translation.py"),
    *("models/star_gan.py", "models/bicycle_gan.py", "models/munit.py", "models/srgan.py", "models/restoration.py"),
)
"""Of ganjax/, what is there for those."""

Row = Mapping[str, Any]


def _number(name: str, form: str) -> Any:
    return lambda row: format(row[name], form) if row.get(name) is not None else "-"


def _parameters(row: Row) -> str:
    counts = row.get("parameters")
    if counts is None:
        return "-"
    return f"{counts['generator']:,} + {sum(counts.values()) - counts['generator']:,}"


COLUMNS: dict[str, Any] = {
    "": lambda row: f"[{row['title']}](https://arxiv.org/abs/{row['arxiv']})" if "title" in row else row["model"],
    "year": lambda row: row.get("year", "-"),
    "parameters, G + others": _parameters,
    "images seen": _number("images", ","),
    "images/s": _number("images_per_second", ",.0f"),
    "Fréchet distance": _number("fid", ".1f"),
    "precision": _number("precision", ".2f"),
    "recall": _number("recall", ".2f"),
    "coverage": _number("coverage", ".2f"),
    "classes found": _number("classes", "d"),
    "SWD": _number("swd", ".1f"),
    "MS-SSIM": _number("diversity", ".3f"),
    "lines": _number("lines", "d"),
}


def note(rows: Sequence[Row], options: Any) -> str:
    """How the numbers came about."""
    return (
        f"{options.minutes:g} minutes of one core each, without compiling; seed {options.seed}. {options.num:,} "
        "samples of the averaged weights, classes as frequent as among the reals where the model takes them; CoGAN's "
        "of the domain of clothes. A classifier that is right on "
        f"{rows[-1]['classifier_accuracy']:.2%} of held-out images; a class is found when 1 % of the samples are of "
        "it. SWD is the sliced Wasserstein distance of patches times 1000, MS-SSIM that of pairs of samples. Lines are "
        "the config's."
    )


def lines(path: Path) -> int:
    """Of a file."""
    return len(path.read_text().splitlines())


def translation(name: str) -> str:
    """A row of the papers from images to images: the first line of the config says what it is."""
    path = ROOT / "configs" / f"{name}.py"
    first = path.read_text().partition("\n")[0].strip('"')
    (number,) = re.findall(r"arXiv ([\d.]+\d)", first)
    said = re.sub(r"\s*\([^)]*arXiv[^)]*\)", "", first).rstrip(".")
    return f"| [{name}](../configs/{name}.py) | [{number}](https://arxiv.org/abs/{number}) | {said} | {lines(path)} |"


def page(rows: Sequence[Row], command: str, below: str, results: Path, at: Path) -> str:
    """The document."""
    folder = Path(os.path.relpath(results.resolve(), at.resolve().parent)).as_posix()
    papers = [row for row in rows if "title" in row]
    parts = sum(lines(ROOT / "ganjax" / part) for part in PARTS)
    theirs = sum(lines(ROOT / "configs" / f"{name}.py") for name in TRANSLATIONS)
    theirs_parts = sum(lines(ROOT / "ganjax" / part) for part in PARTS_OF_TRANSLATIONS)
    configs = sum(row["lines"] for row in papers)
    text = [
        "# The gallery",
        "",
        f"{len(papers)} papers, each a config of {min(row['lines'] for row in papers)} to "
        f"{max(row['lines'] for row in papers)} lines in [configs/gallery](../configs/gallery), small enough for one "
        "core of a CPU and some minutes. This page is written by the benchmark that measured it.",
        "",
        "```",
        "ganjax configs                                              # lists them",
        "ganjax train gallery/infogan --workdir runs/infogan --path fashion_mnist.npz",
        "ganjax sample --workdir runs/mgan --generator 2 --out third.png     # of a mixture, one of its generators",
        "ganjax evaluate --workdir runs/infogan --network classifier --metrics fid,prdc,modes,swd,diversity",
        command,
        "```",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
        *(f"| {' | '.join(show(row) for show in COLUMNS.values())} |" for row in rows),
        "",
        below,
        "",
        f"![Samples of every model, a row each]({folder}/gallery.png)",
        "",
        "Ended after an iteration and started again, each goes on to the bit as if it had not been: "
        f"`python benchmarks/gallery_resumes.py --path fashion_mnist.npz` ([table]({folder}/gallery_resumes.md)).",
        "",
        "## What each changed",
        "",
        "| config | paper | what it changed |",
        "|---|---|---|",
        *(
            f"| [{row['model']}](../configs/gallery/{row['model']}.py) | {row['authors']} {row['year']} | "
            f"{row['changed'][0].upper()}{row['changed'][1:]} |"
            for row in papers
        ),
        "",
        "## What single papers are about",
        "",
    ]
    for row in papers:
        if not row["figures"] and not row["pictures"]:
            continue
        said = "; ".join(f"{name}: {value:.3g}" for name, value in row["figures"].items())
        text += [f"**{row['title']}.** {said[0].upper()}{said[1:]}.", ""]
        text += [line for name in row["pictures"] for line in (f"![{row['title']}]({folder}/{name})", "")]
    text += [
        "## From images to images",
        "",
        "These need pairs, or two sets of images. [translation.md](translation.md) and",
        "[restoration.md](restoration.md) tell how they are trained, and what came of it in minutes.",
        "",
        "| config | paper | what it is | lines |",
        "|---|---|---|---|",
        *(translation(name) for name in TRANSLATIONS),
        "",
        "## How much of it there is",
        "",
        f"The {len(papers)} configs have {configs:,} lines, and what is in ganjax/ for them alone {parts:,}; the "
        f"{len(TRANSLATIONS)} from images to images {theirs:,}, and what is in ganjax/ for those {theirs_parts:,}: "
        f"{configs + parts + theirs + theirs_parts:,} together, beside the {THEIRS:,} of PyTorch-GAN's scripts. "
        "What all of ganjax shares, its loop, data and metrics, is not counted; a script of theirs has its own.",
    ]
    return "\n".join(text) + "\n"
