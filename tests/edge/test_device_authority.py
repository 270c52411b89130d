"""The gateway as the certificate authority of its devices."""

import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.__main__ import main
from edge.device_authority import DeviceAuthority
from edge.errors import AdmissionError

CONFIG = """
[gateway]
id = "g"
name = { en = "G", zh = "G" }

[uplink]
kind = "mqtt"
url = "mqtt://127.0.0.1"

[[links]]
name = "devices"
kind = "mqtt"
devices = [{ thing = "w-1", model = "kerb-wearable" }]
"""


def new_point() -> bytes:
    return (
        ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    )


def test_a_device_gets_a_certificate_for_its_key_that_needs_no_clock(tmp_path: Path) -> None:
    authority, key = DeviceAuthority(tmp_path), new_point()
    admission = authority.admit("w-1", key)
    ca, own = x509.load_der_x509_certificate(admission.ca), x509.load_der_x509_certificate(admission.certificate)
    own.verify_directly_issued_by(ca)
    assert own.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) == key
    assert own.subject.rfc4514_string() == f"2.5.4.5={authority.serials()['w-1']},CN=w-1"
    for certificate in (ca, own):
        assert certificate.not_valid_before_utc.year == 1970
        assert certificate.not_valid_after_utc.year == 9999
    usage = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [each.dotted_string for each in usage] == ["1.3.6.1.5.5.7.3.2"]  # a client, and no server


def test_the_authority_is_made_once(tmp_path: Path) -> None:
    first = DeviceAuthority(tmp_path).admit("w-1", new_point())
    assert DeviceAuthority(tmp_path).admit("w-2", new_point()).ca == first.ca
    assert (tmp_path / "devices" / "authority.pem").stat().st_mode & 0o777 == 0o600


def test_admitted_anew_the_key_before_is_worth_nothing(tmp_path: Path) -> None:
    authority = DeviceAuthority(tmp_path)
    authority.admit("w-1", new_point())
    before, version = authority.serials(), authority.version()
    authority.admit("w-1", new_point())
    assert authority.serials().keys() == before.keys()
    assert authority.serials() != before
    assert authority.version() != version


def test_a_revoked_device_is_known_no_longer(tmp_path: Path) -> None:
    authority = DeviceAuthority(tmp_path)
    authority.admit("w-1", new_point())
    authority.revoke("w-1")
    assert authority.serials() == {}
    with pytest.raises(AdmissionError, match="w-1: is not admitted"):
        authority.revoke("w-1")


@pytest.mark.parametrize(
    ("device", "key", "reason"),
    [
        ("a/b", new_point(), "its id is not"),
        ("w-1", new_point()[1:], "has 64 bytes, not 65"),
        ("w-1", bytes(65), "no point of P-256"),
        ("w-1", b"\x04" + bytes(64), "no point of P-256"),
    ],
    ids=["no id", "too short", "no point", "not on the curve"],
)
def test_what_is_no_device_or_no_key_is_refused(tmp_path: Path, device: str, key: bytes, reason: str) -> None:
    authority = DeviceAuthority(tmp_path)
    with pytest.raises(AdmissionError, match=reason):
        authority.admit(device, key)
    assert authority.serials() == {}


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    DeviceAuthority(tmp_path).admit("w-1", new_point())
    (tmp_path / "devices" / "admitted.json").write_text("[")
    with pytest.raises(AdmissionError, match=r"admitted\.json is damaged"):
        DeviceAuthority(tmp_path).serials()
    (tmp_path / "devices" / "authority.pem").write_text("no key")
    with pytest.raises(AdmissionError, match=r"authority\.pem is damaged"):
        DeviceAuthority(tmp_path)


def test_the_command_prints_what_the_device_keeps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIG)

    def run(*words: str) -> int:
        monkeypatch.setattr("sys.argv", ["edge", *words])
        return main()

    assert run("admit", str(config), "w-1", new_point().hex()) == 0
    printed = json.loads(capsys.readouterr().out)
    own = x509.load_der_x509_certificate(bytes.fromhex(printed["certificate"]))
    own.verify_directly_issued_by(x509.load_der_x509_certificate(bytes.fromhex(printed["ca"])))
    assert run("admit", str(config), "w-2", new_point().hex()) == 2
    assert "no link of kind mqtt with this device" in capsys.readouterr().err
    assert run("revoke", str(config), "w-1") == 0
    assert DeviceAuthority(tmp_path / "data").serials() == {}
