"""Names of a model's labels: of the user's file, of the metadata in the model file, or of a public data set."""

from __future__ import annotations

import ast
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.box import files
from agent.box.files import BadFile
from agent.errors import PackageError

MAX_BYTES = 1_000_000
# The 80 classes of COCO (https://cocodataset.org) in the order of detectors that are trained on it
_COCO = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,"
    "bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,"
    "skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,"
    "cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
)
COCO = _COCO.split(",")


def of_user(path: Path) -> list[str]:
    """A line for each. Raises PackageError."""
    try:
        with files.open_regular(path, MAX_BYTES) as file:
            return _lines(file.read().decode("utf-8-sig"))
    except BadFile as error:
        raise PackageError(f"--labels: {path}: {error}") from error
    except UnicodeDecodeError as error:
        raise PackageError(f"--labels: {path}: not UTF-8 text") from error


def inside(file: Path, metadata: Mapping[str, str]) -> list[str]:
    """Of the file's metadata: an ONNX model's `names`; the text in the zip at the end of a .tflite. Empty without."""
    if "names" in metadata:
        return _of_names(metadata["names"])
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.endswith(".txt")]
            small = [entry for entry in entries if entry.file_size < MAX_BYTES]
            text = archive.read(small[0]).decode("utf-8-sig") if small else ""
    except (zipfile.BadZipFile, UnicodeDecodeError):
        return []
    return _of_names(text) if text.lstrip().startswith("{") else _lines(text)


def _of_names(text: str) -> list[str]:
    """Of {0: "person", 1: "bicycle"}, or a dictionary that has this as `names`: literals of Python; else empty."""
    names = _literal(text)
    names = names.get("names", names) if isinstance(names, dict) else names
    if isinstance(names, dict):
        names = [names.get(number) for number in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return []
    return names


def _literal(text: str) -> Any:
    """Only values: ast.literal_eval runs nothing."""
    try:
        return ast.literal_eval(text) if len(text) < MAX_BYTES else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _lines(text: str) -> list[str]:
    return re.split(r"\r\n|\r|\n", text.rstrip("\r\n")) if text else []
