"""The section `site` of reflexd.yaml."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field, field_validator

from agent.section import Section
from agent.yamlfile import NAME

ENDPOINT = re.compile(r"(?:tls|tcp)/(?:\[[0-9a-fA-F:.%\w]+\]|[^\s/:\[\]#?]+):([0-9]{1,5})")


class Site(Section):
    """Boxes on one network that see each other: agent/site/README.md. This box's name among them is `node`."""

    name: str = Field(pattern=NAME, description="the same on every box of the site")
    boxes: list[str] = Field(
        default=[], max_length=64, description="`node` of every other box; what calls itself otherwise is not heard"
    )
    listen: list[str] = Field(
        default=[], max_length=8, description="addresses at which the other boxes reach this one: tls/ADDRESS:PORT"
    )
    peers: list[str] = Field(
        default=[],
        max_length=64,
        description="addresses of other boxes; of two boxes one that names the other is enough",
    )
    discovery: bool = Field(default=False, description="find boxes by multicast, too; false: only those under `peers`")
    keys: Path | None = Field(default=None, description="this box's folder from `reflexd keys --site`")

    @field_validator("boxes")
    @classmethod
    def _names(cls, boxes: list[str]) -> list[str]:
        for box in boxes:
            if not re.fullmatch(NAME, box):
                raise ValueError(f"'{box[:32]}': a name has 1 to 32 letters, digits, '_', '.' or '-'")
        return list(dict.fromkeys(boxes))

    @field_validator("listen", "peers")
    @classmethod
    def _addresses(cls, endpoints: list[str]) -> list[str]:
        for endpoint in endpoints:
            match = ENDPOINT.fullmatch(endpoint)
            if not match or not 1 <= int(match[1]) <= 65535:
                raise ValueError("expected tls/ADDRESS:PORT, such as tls/192.168.7.2:7447")
        return endpoints
