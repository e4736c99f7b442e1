"""What the OPC UA drivers need to know of a server: address, security, user; and how nodes are named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from asyncua import ua
from asyncua.ua.uaerrors import UaError
from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from drivers.base import DriverOptions

PORT = 4840  # registered with IANA for opc.tcp


class ServerOptions(DriverOptions):
    """Address, security and user of a server."""

    url: str = Field(max_length=500, description="opc.tcp://host:4840/path; an IP address needs no name server")
    security: Literal["sign_and_encrypt", "sign", "none"] = Field(
        description="policy Basic256Sha256; none: whoever is on the network can read and send commands"
    )
    server_certificate: Path | None = Field(
        None, description="PEM or DER: of this very server, no other one is talked to"
    )
    certificate: Path | None = Field(None, description="PEM or DER: of this client; the server must trust it")
    key: Path | None = Field(None, description="PEM or DER: secret key of this client")
    key_password: SecretStr = Field(SecretStr(""), description="of an encrypted key: '${NAME}'")
    user: str = Field("", max_length=200, description="empty: anonymous")
    password: SecretStr = Field(SecretStr(""), description="'${NAME}' keeps it out of the file")
    clear_password: bool = Field(
        False, description="true: send the password although the network, or an impostor, can read it"
    )

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        if "@" in url:  # first: what cannot be split is not shown, as it may be a password
            raise ValueError("write user and password as options of their own")
        try:
            parts = urlsplit(url)
            good = parts.scheme == "opc.tcp" and parts.hostname and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise ValueError("an address such as opc.tcp://192.168.0.10:4840 is needed")
        return url

    @model_validator(mode="after")
    def _complete(self) -> ServerOptions:
        needed = {"server_certificate": self.server_certificate, "certificate": self.certificate, "key": self.key}
        missing = [name for name, path in needed.items() if path is None]
        if self.security == "none" and len(missing) < len(needed):
            raise ValueError("security: none uses no certificate and no key: remove them")
        if self.security != "none" and missing:
            raise ValueError(f"security: {self.security} needs {' and '.join(missing)}")
        if self.password.get_secret_value() and not self.user:
            raise ValueError("a password needs a user")
        if self.security == "none" and self.password.get_secret_value() and not self.clear_password:
            raise ValueError("security: none does not protect the password: clear_password: true sends it nevertheless")
        return self

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or PORT

    @property
    def message_mode(self) -> ua.MessageSecurityMode:
        return {
            "none": ua.MessageSecurityMode.None_,
            "sign": ua.MessageSecurityMode.Sign,
            "sign_and_encrypt": ua.MessageSecurityMode.SignAndEncrypt,
        }[self.security]


def parse_node(text: str) -> ua.NodeId:
    """A node id in the notation of OPC 10000-6, 5.3.1.10: "ns=2;s=Belt.Run", "nsu=urn:press;i=7". Raises ValueError."""
    try:
        node = ua.NodeId.from_string(text)
    except (UaError, ValueError, IndexError) as error:
        raise ValueError(f"'{text}' is no node id: write 'ns=2;s=Belt.Run' or 'nsu=urn:my-server;i=1007'") from error
    if not 0 <= node.NamespaceIndex <= 0xFFFF or getattr(node, "ServerIndex", None):
        raise ValueError(f"'{text}' is no node of this server: leave srv out, ns is 0 to 65535")
    if node.NodeIdType == ua.NodeIdType.Numeric and not 0 <= int(node.Identifier) <= 0xFFFFFFFF:
        raise ValueError(f"'{text}': i is 0 to 4294967295")
    return node


def _checked(text: str) -> str:
    parse_node(text)
    return text


NodeName = Annotated[
    str,
    Field(
        min_length=3,
        max_length=500,
        description="such as 'ns=2;s=Belt.Run'; with nsu=URI instead of ns the index is looked up at open",
    ),
    AfterValidator(_checked),
]
