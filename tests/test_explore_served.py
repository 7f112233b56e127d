"""`ganjax explore` as people start it: the address, the browser, several users, and its end."""

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from browser import opened_page
from etils import epath
from PIL import Image
from processes import MLP, ROOT, free_port

from ganjax import init
from ganjax.cli import main
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.workdir import load_workdir
from ganjax.using.xmp import find_packet

pytest.importorskip("uvicorn", reason="pip install 'ganjax[explore]'")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has drawn its first weights, and no more."""
    folder = tmp_path_factory.mktemp("served") / "tiny"
    folder.mkdir()
    shutil.copy(MLP, folder / "config.py")
    (folder / "overrides.json").write_text('["--width", "8"]')
    config = load_workdir(epath.Path(folder))
    with Checkpoints(epath.Path(folder / "checkpoints")) as checkpoints:
        checkpoints.save(0, init(config.gan, jax.random.key(0)))
    return folder


@contextlib.contextmanager
def serving(workdir: Path, *flags: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a server, which is killed at the end if it still runs."""
    command = [sys.executable, "-m", "ganjax", "explore", "--workdir", str(workdir), "--port", "0", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(
        command, env=environment, cwd=workdir.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert server.stdout is not None
        line = next(line for line in server.stdout if "exploring" in line or line.startswith("ganjax:"))
        assert line.startswith("exploring"), line
        yield line.split("images: ")[1].split(" ")[0], server
    finally:
        server.kill()
        server.communicate()


def files_in(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_it_is_used_in_a_browser_by_mouse_and_keys_and_ends_at_ctrl_c(workdir: Path, tmp_path: Path) -> None:
    before = files_in(workdir.parent)
    with serving(workdir, "--directions", "1", "--project-steps", "1") as (address, server):
        port = int(address.rpartition(":")[2])
        for number in range(20):  # which is no HTTP
            with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
                raw.sendall(random.Random(number).randbytes(99) + b"\r\n\r\n")
                with contextlib.suppress(ConnectionResetError):
                    assert raw.recv(64).startswith((b"HTTP/1.1 400", b"")), number
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/draw", json.dumps({"wishes": [{"seed": 1}]}), {"Content-Type": "application/json"})
        assert len(json.load(connection.getresponse())["images"]) == 1
        connection.close()
        with opened_page(address, viewport={"width": 390, "height": 800}, accept_downloads=True) as page:
            page.wait_for_selector("#stage .cell")
            assert page.title() == "tiny · ganjax explore"
            assert page.locator("#stage .cell").count() == 16
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            first = page.get_attribute("#stage .cell img", "src")
            page.click("text=Later →")
            page.wait_for_function("old => document.querySelector('#stage .cell img').src !== old", arg=first)
            assert page.text_content("#stage .under") == "seed 16"
            page.select_option("select", label="32")
            page.wait_for_function("() => document.querySelectorAll('#stage .cell').length === 32")
            page.focus("#stage .cell")  # by keys alone from here on
            page.keyboard.press("ArrowRight")
            page.keyboard.press("Enter")
            page.wait_for_selector("dialog[open]")
            assert "Seed17" in page.text_content("dialog dl").replace("\n", "")
            with page.expect_download() as download:
                page.click("dialog >> text=Download")
            assert download.value.suggested_filename == "tiny_seed17.png"
            data = Path(download.value.path()).read_bytes()
            assert b'ganjax:seed="17"' in (find_packet(data) or b"")
            page.keyboard.press("Escape")
            page.wait_for_selector("dialog[open]", state="hidden")
            page.focus("[role=tab][aria-selected=true]")
            page.keyboard.press("ArrowRight")
            page.wait_for_selector("#stage .large img")
            assert page.locator("#stage .cell").count() == 9
            page.click("[data-mode=directions]")
            page.wait_for_function("() => document.querySelectorAll('#stage .cell').length === 20")
            page.click("[data-mode=picture]")
            Image.new("L", (20, 20), 200).save(tmp_path / "mine.png")
            (tmp_path / "none.png").write_bytes(b"no picture")
            page.wait_for_selector("input[type=file]", state="attached")
            page.set_input_files("input[type=file]", tmp_path / "none.png")
            page.wait_for_selector("#error:not([hidden])")
            assert page.text_content("#error").startswith("The file is no picture in PNG, JPEG or WebP")
            page.set_input_files("input[type=file]", tmp_path / "mine.png")
            page.wait_for_selector(".two .cell img", timeout=60_000)
            assert page.locator("#error").is_hidden()
        server.send_signal(signal.SIGINT)
        out, _ = server.communicate(timeout=20)
        assert server.returncode == 0
        assert out.strip() == "ended"
    assert files_in(workdir.parent) == before


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--port", "70000"], "--port is 70000; expected a number from 0 to 65535"),
        (["--host", "no address"], "--host is no address, which is no address"),
        (["--host", "192.0.2.1"], "cannot be listened on"),
        (["--step", "7"], "no checkpoint of step 7"),
        (["--generator", "backward_generator"], "this model has generator"),
        (["--batch-size", "0"], "--batch-size is 0"),
        (["--workdir", "{tmp}/none"], "has no config.py"),
    ],
)
def test_what_cannot_be_meant_gets_one_line(
    flags: list[str], said: str, workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--workdir", str(workdir), "--port", "0", *(flag.format(tmp=tmp_path) for flag in flags)]
    assert main(["explore", *given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ganjax: ")
    assert said in line


def test_a_port_in_use_is_said_before_anything_is_loaded(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert main(["explore", "--workdir", str(workdir), "--port", str(port)]) == 2
    assert f"--port {port} of 127.0.0.1 is in use; end what uses it, or name another" in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["explore", "--workdir", str(workdir)]) == 2
    assert "which is not installed: pip install 'ganjax[explore]'" in capsys.readouterr().err
