"""Images as requests bring them: files of a form, or names with base64. Never a path to open."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import PurePosixPath, PureWindowsPath

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile

from cytowell.images import Encoded
from cytowell.serving.lengths import NAME


async def images_of(request: Request, most: int) -> list[Encoded]:
    """Read the images of a request: files, or names with base64."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        images = await _from_form(request, most)
    elif kind == "application/json":
        images = _from_json(await request.body())
    else:
        raise HTTPException(415, "Send multipart/form-data with files, or application/json.")
    if not images:
        raise HTTPException(400, "There is no image in the request: repeat the field files.")
    if len(images) > most:
        raise HTTPException(400, f"A request holds {most} images at most.")
    return images


async def _from_form(request: Request, most: int) -> list[Encoded]:
    images = []
    async with request.form(max_files=most + 1, max_fields=10) as form:
        for field, item in form.multi_items():
            if field != "files" or not isinstance(item, UploadFile):
                raise HTTPException(400, f"The field {field[:40]!r} is not known: send files.")
            images.append(Encoded(base_name(item.filename or "image"), await item.read()))
    return images


def _from_json(body: bytes) -> list[Encoded]:
    remedy = 'Send {"images": [{"name": "a.jpg", "data": BASE64}]}.'
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"The body is no JSON. {remedy}") from error
    if not isinstance(given, dict) or set(given) != {"images"}:
        raise HTTPException(400, f"The body has other fields than images. {remedy}")
    listed = given["images"]
    if not isinstance(listed, list) or not all(
        isinstance(one, dict)
        and set(one) == {"name", "data"}
        and all(isinstance(v, str) for v in one.values())
        and len(one["name"]) <= NAME
        for one in listed
    ):
        raise HTTPException(400, f"An image has to have a name and data, both texts. {remedy}")
    images = []
    for one in listed:
        try:
            data = base64.b64decode(one["data"], validate=True)
        except (binascii.Error, ValueError) as error:
            said = base_name(one["name"])
            raise HTTPException(400, f"The data of {said!r} are no base64.") from error
        images.append(Encoded(base_name(one["name"]), data))
    return images


def base_name(name: str) -> str:
    """Give a name without its folders, whichever system wrote it; nothing here opens it."""
    last = PurePosixPath(PureWindowsPath(name).as_posix()).name
    shown = "".join(c for c in last if c.isprintable()).strip()
    return shown[:NAME] or "image"
