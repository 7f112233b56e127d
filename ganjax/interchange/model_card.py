"""The page of a model in the layout that the Hugging Face hub reads: facts in YAML, then words for people."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

__all__ = ["licence_of", "model_card"]

_LICENCES = [  # what a text says, and what the hub calls it, the more particular first
    (r"apache license\s+version 2\.0", "apache-2.0"),
    (r"creative commons.{0,80}cc0|cc0 1\.0", "cc0-1.0"),
    (r"attribution-noncommercial-sharealike 4\.0", "cc-by-nc-sa-4.0"),
    (r"attribution-noncommercial 4\.0", "cc-by-nc-4.0"),
    (r"attribution 4\.0 international", "cc-by-4.0"),
    (r"redistribution and use in source and binary forms.*neither the name", "bsd-3-clause"),
    (r"redistribution and use in source and binary forms", "bsd-2-clause"),
    (r"permission is hereby granted, free of charge", "mit"),
]


def licence_of(texts: Sequence[str]) -> str:
    """What the hub calls the licence of these texts; ``other`` of several or unknown ones, ``unknown`` of none."""
    found = {
        next((name for pattern, name in _LICENCES if re.search(pattern, text, re.IGNORECASE | re.DOTALL)), "other")
        for text in texts
    }
    return found.pop() if len(found) == 1 else "other" if found else "unknown"


def model_card(
    *,
    name: str,
    starts_from_images: bool,
    facts: Mapping[str, str],
    dataset: str,
    metrics: Mapping[str, float],
    licences: Mapping[str, str] | None,
    origin: str,
) -> str:
    """The text of a README.md.

    Args:
        name: of the model.
        starts_from_images: whether its images are made of others.
        facts: about it, in a few words each.
        dataset: that it was trained and measured on.
        metrics: that were measured, by name.
        licences: of weights that it began with, their texts by the names of the files; None: it began with none.
        origin: where those are from, in words; "": it began with none.
    """
    task = "image-to-image" if starts_from_images else "unconditional-image-generation"
    front: dict[str, Any] = {"library_name": "ganjax", "pipeline_tag": task, "tags": ["gan", "jax", "stablehlo"]}
    if licences is not None:
        front["license"] = licence_of(list(licences.values()))
        if front["license"] == "other":
            front |= {"license_name": "see-files", "license_link": min(licences)}
    if metrics:
        measured = [{"type": metric, "name": metric, "value": value} for metric, value in metrics.items()]
        result = {"task": {"type": task}, "dataset": {"name": dataset, "type": dataset}, "metrics": measured}
        front["model-index"] = [{"name": name, "results": [result]}]
    lines = ["---", yaml.safe_dump(front, sort_keys=False, allow_unicode=True).rstrip(), "---", "", f"# {name}", ""]
    lines += [f"- {what}: {said}" for what, said in facts.items()]
    if metrics:
        lines += ["", "| metric | value |", "|---|---|", *(f"| {it} | {value:.6g} |" for it, value in metrics.items())]
    if origin:
        kept = f"; licences: {', '.join(sorted(licences))}" if licences else ""
        lines += ["", f"Its first weights: {origin}{kept}."]
    lines += [
        "",
        "`model.safetensors` has the generator's weights, `generator.stablehlo` the program that makes images of them,",
        "for any number of images, on CPU, CUDA and TPU. `load.py` runs it without ganjax:",
        "",
        "    pip install jax flatbuffers",
        "    python load.py 16",
        "",
        "`config.json` says what it takes and how it was made.",
    ]
    return "\n".join(lines) + "\n"
