"""OPC UA with Basic256Sha256: certificates, users, and what is refused."""

import pytest

pytest.importorskip("asyncua", reason="needs asyncua: pip install 'reflexd[opcua]'")

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from agent.benches.io import opcua
from drivers.actuator.opcua import Driver, Options
from drivers.base import DeviceError
from drivers.links.opcua import session
from tests.opcua_peers import verbs
from tests.waiting import until

LOGIN = {"user": opcua.USER, "password": opcua.PASSWORD}


@pytest.fixture(scope="module")
def belt():
    """It encrypts, and knows one client and one user."""
    with opcua.counterpart("sign_and_encrypt", accounts=True) as counterpart:
        yield counterpart


def made(counterpart, **options):
    return Driver(Options.model_validate(counterpart.options | verbs() | options), "belt")


def refused(driver):
    with pytest.raises(DeviceError) as caught:
        driver.open()
    driver.close()
    chain, text = caught.value, ""
    while chain is not None:
        text += str(chain)
        chain = chain.__cause__ or chain.__context__
    assert opcua.PASSWORD not in text and "wrong-password" not in text
    return str(caught.value)


@pytest.mark.parametrize("security", [pytest.param("sign", marks=pytest.mark.slow), "sign_and_encrypt"])
def test_both_modes_with_a_user(security, belt):
    if security == belt.security:
        _switches(belt)
    else:
        with opcua.counterpart(security, accounts=True) as other:
            _switches(other)


def _switches(counterpart):
    driver = made(counterpart, **LOGIN)
    driver.open()
    for verb, value in (("run", True), ("stop", False)):
        driver.apply(verb, {})
        assert counterpart.ask(get="Run") is value
    driver.close()


def test_the_keys_are_renewed_while_commands_are_sent(belt, monkeypatch):
    monkeypatch.setattr(session, "CHANNEL_MS", 200)
    driver = made(belt, **LOGIN, keepalive_ms=60_000)
    driver.open()
    tokens = set()

    def three():
        driver.safe()
        tokens.add(driver.session.transport.protocol._connection.security_token.TokenId)
        return len(tokens) >= 4

    until(three, "three renewals")
    driver.close()


@pytest.mark.parametrize(
    "options",
    [{"user": opcua.USER, "password": "wrong-password"}, {"user": "nobody", "password": "wrong-password"}, {}],
)
def test_a_wrong_user_or_password(belt, options):
    assert "check user and password" in refused(made(belt, **options))


def test_a_client_that_the_server_does_not_trust(belt):
    other = opcua.pair(belt.folder, "other")
    message = refused(made(belt, **LOGIN, certificate=str(other.certificate), key=str(other.key)))
    assert "BadCertificateUntrusted" in message and "must trust our certificate" in message


def test_a_server_that_is_not_the_pinned_one(belt):
    """Its certificate is not compared by name: it must be this very one."""
    other = opcua.pair(belt.folder, "other")
    message = refused(made(belt, **LOGIN, server_certificate=str(other.certificate), open_ms=500))
    assert "trust our certificate, and is server_certificate its own?" in message


@pytest.mark.parametrize("security", ["sign", "none"])
def test_a_server_that_does_not_offer_what_is_asked_for(belt, security):
    options = belt.options if security == "sign" else {"url": belt.options["url"]}
    driver = Driver(Options.model_validate(options | verbs(open_ms=500) | {"security": security}))
    assert f"offer security: {security}" in refused(driver)


@pytest.mark.slow
def test_a_password_is_not_sent_in_clear_unless_that_is_written():
    with opcua.counterpart(accounts=True) as belt:
        with pytest.raises(ValueError, match="does not protect the password"):
            made(belt, **LOGIN)
        driver = made(belt, **LOGIN, clear_password=True)
        driver.open()
        driver.safe()
        driver.close()


def test_a_server_that_wants_the_password_in_clear_over_a_signed_channel(belt, monkeypatch):
    driver = made(belt, **LOGIN)
    driver.options.__dict__["security"] = "sign"  # the server's side stays: its policy for passwords is None
    monkeypatch.setattr("drivers.links.opcua.security.SecurityPolicyBasic256Sha256", _encrypting)
    assert "wants the password in clear" in refused(driver)


def _encrypting(server, own, key, mode):
    from asyncua import ua
    from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

    return SecurityPolicyBasic256Sha256(server, own, key, ua.MessageSecurityMode.SignAndEncrypt)


def test_files_that_are_no_certificate_or_key(belt, tmp_path):
    client = opcua.pair(belt.folder, "client")
    noise, curve, locked = tmp_path / "noise.pem", tmp_path / "curve.pem", tmp_path / "locked.pem"
    noise.write_bytes(b"\xff" * 100)
    elliptic = ec.generate_private_key(ec.SECP256R1())
    curve.write_bytes(elliptic.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key = load_pem_private_key(client.key.read_bytes(), None)
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame")))
    for options, complaint in (
        ({"certificate": str(noise)}, "is no certificate"),
        ({"server_certificate": str(tmp_path / "none.pem")}, "is no file"),
        ({"key": str(noise)}, "is no key in PEM"),
        ({"key": str(locked)}, "key_password is not its password"),
        ({"key": str(opcua.pair(belt.folder, "other").key)}, "is not the key of"),
        ({"key": str(curve)}, "needs an RSA key of 2048 to 4096 bits"),
    ):
        assert complaint in refused(made(belt, **LOGIN, **options))
    driver = made(belt, **LOGIN, key=str(locked), key_password="sesame")
    driver.open()
    driver.safe()
    driver.close()
    assert "sesame" not in repr(driver.options)
