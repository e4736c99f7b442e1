"""Checks of the section `site`, and of lanes over evidence of other boxes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from agent import site_keys
from agent.config.endpoint_checks import LONGEST_SOCKET
from agent.config.models import REMOTE, Config
from agent.errors import about_file
from agent.yamlfile import NAME, Document, unknown
from drivers.sensor import _site_datagram as datagram


def site_mistakes(config: Config, document: Document) -> Iterator[str]:
    site = config.site
    if site:
        yield from _bad_keys(config, document)
        if config.node in site.boxes:
            yield f"{document.at(('site', 'boxes'))}: '{config.node}' is this box: name the others"
        if (site.peers or site.listen) and not site.boxes:
            yield f"{document.at(('site',))}: no box is heard: name the others under 'boxes', as their `node`"
    for name in config.lanes:
        yield from _bad_lane(config, document, name)


def _bad_keys(config: Config, document: Document) -> Iterator[str]:
    site = config.site
    assert site
    plain = [endpoint for endpoint in (*site.listen, *site.peers) if endpoint.startswith("tcp/")]
    if site.keys:
        if plain:
            yield f"{document.at(('site',))}: '{plain[0]}' is not encrypted, and there are keys: write tls/"
        if not _hidden(site.keys) and (mistake := site_keys.mistake(site.keys, config.node)):
            yield about_file(site.keys / site_keys.CERTIFICATE, f"{document.at(('site', 'keys'))}: {mistake}")
    elif not config.insecure:
        yield (
            f"{document.at(('site',))}: without keys any box could speak for another:"
            f" {site_keys.ADVICE.format(node=config.node)}; or 'insecure: true' on a private network"
        )
    elif len(plain) < len(site.listen) + len(site.peers):
        yield f"{document.at(('site',))}: tls/ needs 'keys'; without them write tcp/"


def _hidden(folder: Path) -> bool:
    """Only the service's user may read it: `doctor` says so."""
    return os.path.exists(folder) and not os.access(folder, os.R_OK | os.X_OK)


def _bad_lane(config: Config, document: Document, name: str) -> Iterator[str]:
    """Evidence of other boxes needs a site with these boxes, and the model that passes it on."""
    lane, place = config.lanes[name], ("lanes", name)
    remote, passes_on = lane.source.driver == REMOTE["driver"], lane.model == REMOTE["model"]
    if remote != passes_on:
        yield f"{document.at((*place, 'model'))}: model '{REMOTE['model']}' goes with driver '{REMOTE['driver']}'"
    if not remote:
        return
    if config.site is None:
        yield f"{document.at((*place, 'source'))}: evidence of other boxes needs the section 'site'"
        return
    sources = lane.source.options.get("from")
    for index, source in enumerate(sources if isinstance(sources, (list, tuple)) else ()):
        box, _, of_lane = str(source).partition("/")
        where = (*place, "source", "from", index)
        if not re.fullmatch(NAME, box) or not re.fullmatch(NAME, of_lane):
            yield f"{document.at(where)}: expected BOX/LANE, found '{source}'"
        elif box == config.node:
            yield f"{document.at(where)}: '{of_lane}' is a lane of this box: name it in the rule itself"
        else:
            yield from unknown(document, where, box, "box", dict.fromkeys(config.site.boxes), " in site.boxes")
    size = len(os.fsencode(datagram.path(config.run_dir, name)))
    if size > LONGEST_SOCKET:
        yield (
            f"{document.at(('run_dir',))}: the path of the socket of lane '{name}' in run_dir has {size} bytes,"
            f" the kernel's limit is {LONGEST_SOCKET}: shorten run_dir"
        )
