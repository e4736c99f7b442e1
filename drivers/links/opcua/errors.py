"""What an error of asyncua means for whoever has to repair it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket

from asyncua import ua
from asyncua.ua.uaerrors import UaStatusCodeError

from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout
from drivers.links.opcua.options import ServerOptions

USER = ("BadUserAccessDenied", "BadIdentityTokenRejected", "BadIdentityTokenInvalid", "BadUserSignatureInvalid")
GONE = (
    *("BadSessionIdInvalid", "BadSessionClosed", "BadSecureChannelIdInvalid", "BadSecureChannelClosed"),
    *("BadShutdown", "BadServerHalted", "BadCommunicationError", "BadConnectionClosed", "BadTooManySessions"),
)
CHANNEL = "opening the secure channel"
LOGIN = "logging in"


def explain(options: ServerOptions, step: str, error: Exception, invalid: str) -> DeviceError:
    """step: what was being done. invalid: why what the peer sent is no OPC UA, or empty."""
    where = options.url
    if isinstance(error, UaStatusCodeError):
        return _refused(options, step, ua.StatusCode(ua.UInt32(error.code)).name)
    if invalid:
        return DeviceFault(f"{where}: sent {invalid} while {step}: is it an OPC UA server?")
    if isinstance(error, (asyncio.TimeoutError, concurrent.futures.TimeoutError)):
        return no_answer(options, step)
    if isinstance(error, socket.gaierror):
        return DeviceMissing(f"{where}: its name is not known: check the url, or write its IP address")
    if isinstance(error, OSError):
        return _unreachable(options, step, error)
    if "certificate mismatch" in str(error) or type(error).__name__ in ("InvalidSignature", "InvalidTag"):
        return DeviceFault(f"{where}: is not the server of server_certificate: an impostor, or it has a new one")
    if "No matching endpoints" in str(error):
        return DeviceFault(f"{where}: does not offer security: {options.security}")
    return DeviceFault(f"{where}: invalid answer while {step}: {type(error).__name__}")


def no_answer(options: ServerOptions, step: str, limit: str = "") -> DeviceTimeout:
    """limit: such as " within 100 ms"."""
    return DeviceTimeout(f"{options.url}: no answer{limit} while {step}{_hint(options, step)}")


def _hint(options: ServerOptions, step: str) -> str:
    """A server need not say why it opens no channel: many do not, as that would help an attacker."""
    if step != CHANNEL:
        return ""
    mine = "" if options.security == "none" else ", trust our certificate, and is server_certificate its own"
    return f": does it offer security: {options.security}{mine}?"


def _refused(options: ServerOptions, step: str, status: str) -> DeviceError:
    where = options.url
    if step == LOGIN and status in USER:
        return DeviceFault(f"{where}: refuses user '{options.user or 'anonymous'}' ({status}): check user and password")
    if status in GONE:
        return DeviceMissing(f"{where}: {status} while {step}")
    if "Certificate" in status or "Security" in status:
        return DeviceFault(
            f"{where}: {status} while {step}: it must trust our certificate, offer Basic256Sha256, "
            "and server_certificate must be its own"
        )
    return DeviceFault(f"{where}: {status} while {step}")


def _unreachable(options: ServerOptions, step: str, error: OSError) -> DeviceError:
    where = options.url
    if step == CHANNEL:
        return DeviceFault(f"{where}: closes the connection while {step}{_hint(options, step)}")
    if step == "connecting":
        return DeviceMissing(f"{where}: {error.strerror or 'not reachable'}: is the server on, and the address right?")
    return DeviceMissing(f"{where}: the connection ended while {step}")
