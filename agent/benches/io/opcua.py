"""asyncua's OPC UA server in a child process, for tests and benches: a belt that runs, with a speed."""

from __future__ import annotations

import asyncio
import datetime
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from agent.benches.programs import free_port

URI = "urn:reflexd:belt"
USER, PASSWORD = "reflexd", "belt-and-braces"
READY_S = 60.0


class Pair(NamedTuple):
    """Files of a certificate and its key."""

    certificate: Path
    key: Path


class Counterpart:
    """A running server. `options` has what a driver needs of it, but no verbs and no channels."""

    def __init__(self, folder: Path, port: int, security: str, accounts: bool) -> None:
        self.folder, self.port, self.security = folder, port, security
        setup = {"port": port, "security": security, "accounts": accounts, "folder": str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agent.benches.io.opcua", json.dumps(setup)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parents[3],
        )
        self.answer()

    @property
    def options(self) -> dict[str, Any]:
        url = f"opc.tcp://127.0.0.1:{self.port}"
        if self.security == "none":
            return {"url": url, "security": "none"}
        own, server = pair(self.folder, "client"), pair(self.folder, "server")
        files = {"server_certificate": server.certificate, "certificate": own.certificate, "key": own.key}
        return {"url": url, "security": self.security, **{name: str(path) for name, path in files.items()}}

    def answer(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise OSError(f"the OPC UA server ended with {self.process.wait()}")
        return json.loads(line)

    def ask(self, **order: Any) -> Any:
        """set: name -> value; status: name -> status code; get: a name."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                pipe.close() if pipe else None


def reason() -> str:
    """Why this machine cannot run it; empty: it can."""
    return "" if importlib.util.find_spec("asyncua") else "asyncua is not installed: pip install 'reflexd[opcua]'"


@contextmanager
def server(security: str = "none") -> Iterator[dict[str, Any]]:
    """Options of an actuator with the verbs on and off."""
    with counterpart(security) as belt:
        verbs = {verb: {"writes": [run(verb == "on")]} for verb in ("on", "off")}
        yield {**belt.options, "verbs": verbs, "safe": "off"}


@contextmanager
def counterpart(security: str = "none", accounts: bool = False, port: int = 0) -> Iterator[Counterpart]:
    """accounts: only USER with PASSWORD may log in."""
    with tempfile.TemporaryDirectory() as folder:
        belt = Counterpart(Path(folder), port or free_port(), security, accounts)
        try:
            yield belt
        finally:
            belt.stop()


def run(value: bool) -> dict[str, Any]:
    return {"node": "ns=2;s=Belt.Run", "type": "Boolean", "value": value}


def pair(folder: Path, name: str) -> Pair:
    """Made at first use, self-signed."""
    made = Pair(folder / f"{name}.pem", folder / f"{name}-key.pem")
    if made.key.exists():
        return made
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    uri = x509.UniformResourceIdentifier(f"urn:reflexd:{name}")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([uri, x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


class _Belt:
    """The server's side."""

    def __init__(self, setup: dict[str, Any]) -> None:
        from asyncua.server.server import Server  # the rest of this module works without it

        self.setup, self.folder = setup, Path(setup["folder"])
        self.server = Server(user_manager=_Accounts() if setup["accounts"] else None)  # type: ignore[arg-type]
        self.nodes: dict[str, Any] = {}

    async def serve(self) -> None:
        from asyncua import ua

        await self.server.init()
        self.server.set_endpoint(f"opc.tcp://127.0.0.1:{self.setup['port']}")
        kinds = {
            "none": ua.SecurityPolicyType.NoSecurity,
            "sign": ua.SecurityPolicyType.Basic256Sha256_Sign,
            "sign_and_encrypt": ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
        }
        self.server.set_security_policy([kinds[self.setup["security"]]])
        if self.setup["security"] != "none":
            await self._secure()
        await self._make_nodes()
        async with self.server:
            _print(True)
            await self._obey()

    async def _secure(self) -> None:
        certificate, key = pair(self.folder, "server")
        trusted = x509.load_pem_x509_certificate(pair(self.folder, "client").certificate.read_bytes())
        await self.server.load_certificate(certificate)
        await self.server.load_private_key(key)

        async def check(presented: x509.Certificate, description: Any) -> None:
            from asyncua import ua
            from asyncua.common.utils import ServiceError

            if presented != trusted:
                raise ServiceError(ua.StatusCodes.BadCertificateUntrusted)  # type: ignore[attr-defined]

        self.server.set_certificate_validator(check)

    async def _make_nodes(self) -> None:
        from asyncua import ua
        from asyncua.common.methods import uamethod

        index = await self.server.register_namespace(URI)
        belt = await self.server.nodes.objects.add_object(ua.NodeId(ua.String("Belt"), ua.Int16(index)), "Belt")
        kinds = {"Run": ua.VariantType.Boolean, "Count": ua.VariantType.Int16, "Speed": ua.VariantType.Float}
        for name, kind in {**kinds, "Fixed": ua.VariantType.Double, "Name": ua.VariantType.String}.items():
            node = ua.NodeId(ua.String(f"Belt.{name}"), ua.Int16(index))
            first: Any = "" if name == "Name" else kind == ua.VariantType.Boolean or 0
            self.nodes[name] = await belt.add_variable(node, name, ua.Variant(first, kind))
            if name != "Fixed":
                await self.nodes[name].set_writable()

        @uamethod
        async def go(parent: Any, speed: float) -> None:
            if speed < 0:
                os._exit(3)
            await self.nodes["Speed"].write_value(ua.Variant(speed, ua.VariantType.Float))
            await self.nodes["Run"].write_value(True)

        await belt.add_method(ua.NodeId(ua.String("Belt.Go"), ua.Int16(index)), "Go", go, [ua.VariantType.Float], [])

    async def _obey(self) -> None:
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            order = json.loads(line)
            for name, value in order.get("set", {}).items():
                await self.nodes[name].write_value(value, await self.nodes[name].read_data_type_as_variant_type())
            for name, code in order.get("status", {}).items():
                await self._set_status(name, code)
            _print(await self.nodes[order["get"]].read_value() if "get" in order else True)

    async def _set_status(self, name: str, code: int) -> None:
        from asyncua import ua

        value = await self.nodes[name].read_data_value(raise_on_bad_status=False)
        status = ua.StatusCode(ua.UInt32(code))
        now: Any = datetime.datetime.now(datetime.timezone.utc)
        await self.nodes[name].write_value(ua.DataValue(value.Value, status, now))


class _Accounts:
    def get_user(self, server: Any, username: str = "", password: str = "", certificate: Any = None) -> Any:
        from asyncua.crypto.permission_rules import User, UserRole

        return User(role=UserRole.User) if (username, password) == (USER, PASSWORD) else None


def _print(answer: Any) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    import logging

    logging.disable(logging.CRITICAL)
    asyncio.run(_Belt(json.loads(sys.argv[1])).serve())
