"""What `ganjax explore` answers: the page's files, what there is to ask for, and pictures.

``Starlette`` finds the route and reads the request; the work is done on threads, where a batch is shared by all.
"""

import asyncio
import base64
import functools
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ganjax.ground.errors import UserError
from ganjax.runs.exits import Exit
from ganjax.runs.exploring import Explorer
from ganjax.runs.wishes import Wish, read_place, read_wishes
from ganjax.using.gathering import Busy
from ganjax.using.pages import page_file
from ganjax.verbs._explore_door import Door
from ganjax.verbs._explore_uploads import FORMATS, MOST_BYTES, Start, target
from ganjax.verbs._translate_inputs import Fitting

_MOST_JSON = 2**17  # bytes of a request, in which 64 wishes are a tenth of it
_SECONDS = 30.0  # in which a request must have come
_FILES = {
    "page.css": "text/css",
    "explore.css": "text/css",
    "page.js": "text/javascript",
    "explore.js": "text/javascript",
}

_logger = logging.getLogger("ganjax")

Answer = Callable[[Request], Awaitable[Response]]


def application(
    explorer: Explorer, way_out: Exit, facts: Mapping[str, Any], *, host: str, fitting: Fitting | None = None
) -> Door:
    """The server's application.

    Args:
        explorer: makes the pictures.
        way_out: by which they leave.
        facts: what the page is told of the run.
        host: the address that is listened on.
        fitting: of a generator that starts from pictures.
    """

    def drawn(wishes: list[Wish]) -> dict[str, Any]:
        return _shown(way_out, explorer.images(wishes), wishes)

    async def page(request: Request) -> Response:
        return Response(page_file("explore.html"), media_type="text/html")

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _FILES:
            raise HTTPException(404, "there is no such page")
        return Response(page_file(name), media_type=_FILES[name])

    async def model(request: Request) -> Response:
        return JSONResponse(dict(facts))

    async def draw(request: Request) -> Response:
        wishes = read_wishes(await _json(request), explorer.known)
        return JSONResponse(await run_in_threadpool(drawn, wishes))

    async def sheet(request: Request) -> Response:
        given = await _json(request)
        wishes = read_wishes(given, explorer.known)
        columns = given.get("columns")
        if type(columns) is not int or not 1 <= columns <= len(wishes):
            raise UserError(f"columns is {str(columns)[:40]}; expected a whole number from 1 to {len(wishes)}")

        def work() -> bytes:
            return way_out.sheet(way_out.let_out(explorer.images(wishes), wishes), columns=columns)

        return Response(await run_in_threadpool(work), media_type="image/png")

    async def translate(request: Request) -> Response:
        if fitting is None:
            raise UserError("this generator starts from latents, and from no picture")
        wishes = read_wishes({"wishes": [_parsed(request.query_params.get("wish", ""))]}, explorer.known)
        data = await _picture(request)

        def work(fitting: Fitting = fitting) -> dict[str, Any]:
            start = Start(data, fitting)
            images = explorer.images(wishes, start=start.array)
            return _shown(way_out, [start.cropped(image) for image in images], wishes)

        return JSONResponse(await run_in_threadpool(work))

    async def project(request: Request) -> Response:
        if not explorer.projects:
            raise UserError("this generator takes no pictures to project")
        given = _parsed(request.query_params.get("place", ""))
        found = read_place({"seed": 0} | given if isinstance(given, dict) else given, explorer.known)
        label = found.label if isinstance(given, dict) and "label" in given else None
        data = await _picture(request)

        def work() -> dict[str, Any]:
            picture = target(data, explorer.image_shape)
            place = explorer.project(picture, label=label, attributes=found.attributes)
            return {"place": {"seed": 0, "label": place.label, "code": place.code}, **drawn([Wish(place)])}

        return JSONResponse(await run_in_threadpool(work))

    routes = [
        Route("/", page, methods=["GET"]),
        Route("/model", _answered(model), methods=["GET"]),
        Route("/draw", _answered(draw), methods=["POST"]),
        Route("/sheet", _answered(sheet), methods=["POST"]),
        Route("/translate", _answered(translate), methods=["POST"]),
        Route("/project", _answered(project), methods=["POST"]),
        Route("/{name}", file, methods=["GET"]),
    ]
    refused: Any = {HTTPException: _refused}
    found = Starlette(routes=routes, exception_handlers=refused)
    found.router.redirect_slashes = False
    return Door(found, host=host)


def _answered(answer: Answer) -> Answer:
    """What goes wrong, as an answer of one line: the asker's mistakes, and ours, of which the terminal tells."""

    @functools.wraps(answer)
    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except HTTPException:
            raise
        except Busy as error:
            return JSONResponse({"error": str(error)}, 503)
        except UserError as error:
            return JSONResponse({"error": " ".join(str(error).split())}, 400)
        except ClientDisconnect:  # nobody is there to be answered
            return JSONResponse({"error": "the request broke off"}, 400)
        except Exception as error:
            _logger.error("%s: %s", type(error).__name__, " ".join(str(error).split())[:500])
            return JSONResponse({"error": "the server failed at this; its terminal says why"}, 500)

    return answered


async def _refused(request: Request, error: Any) -> Response:
    return JSONResponse({"error": str(error.detail).lower()}, error.status_code, headers=error.headers)


async def _json(request: Request) -> Any:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "expected application/json")
    return _parsed(await _body(request, most=_MOST_JSON))


def _parsed(content: bytes | str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError("the request is not JSON; load the page again") from error


async def _body(request: Request, *, most: int) -> bytes:
    """What a request carries; what is too much is not even read."""
    told = request.headers.get("content-length", "0")
    if not told.isascii() or not told.isdecimal() or len(told) > 15 or int(told) > most:
        raise HTTPException(413, f"the request has {told[:20]} bytes; at most {most:,} are taken")
    content = bytearray()
    try:
        async with asyncio.timeout(_SECONDS):
            async for part in request.stream():
                content += part
                if len(content) > most:
                    raise HTTPException(413, f"the request has more than the {most:,} bytes that are taken")
    except TimeoutError as error:
        raise HTTPException(408, f"the request had not come after {_SECONDS:g} s") from error
    return bytes(content)


async def _picture(request: Request) -> bytes:
    """The content of a file that is uploaded."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in FORMATS.values():
        raise HTTPException(415, f"the file is {kind[:60] or 'of no kind'}; expected {', '.join(FORMATS)}")
    return await _body(request, most=MOST_BYTES)


def _shown(way_out: Exit, images: list[np.ndarray], wishes: list[Wish]) -> dict[str, Any]:
    """What the page is given of pictures: files that say what made them, or why they may not leave."""
    return {
        "images": [
            {"refused": one.refused}
            if one.pixels is None
            else {
                "source": f"data:image/png;base64,{base64.b64encode(way_out.png(one)).decode()}",
                "said": one.wish.said,
            }
            for one in way_out.let_out(images, wishes)
        ]
    }
