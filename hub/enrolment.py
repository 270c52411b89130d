"""Enrolment of gateways by one-time tokens: made by `kerb hub enrol`, used by `kerb edge enrol` over the web API."""

import time
from dataclasses import dataclass
from pathlib import Path

from hub import logins
from hub.authority import Authority, checked_csr
from hub.errors import EnrolmentError, SetupError
from hub.locked_json import locked_json
from runtime.enrolment import Token, answer_proof, request_proof, same

FILE = "enrolment.json"
_KEPT_S = 30 * 86_400  # so long after its end a token's id is known, to say what became of it
_MOST_HOURS = 24 * 365


@dataclass(frozen=True)
class Enrolled:
    """The answer to a gateway: its certificate and the CA's (PEM), and the proof that they come from this hub."""

    certificate: str
    ca: str
    proof: str


def make_token(data: Path, gateway: str, *, hours: float, now_s: float | None = None) -> Token:
    """A token that lets the gateway enrol once, within so many hours. Raises SetupError."""
    logins.check_id(gateway)
    if not 0 < hours <= _MOST_HOURS:
        raise SetupError(f"--hours must be above 0 and at most {_MOST_HOURS}")
    now = time.time() if now_s is None else now_s
    token = Token.make(Authority(data).fingerprint)
    with locked_json(data / FILE) as tokens:
        for old in [name for name, one in tokens.items() if one["until_s"] + _KEPT_S < now]:
            del tokens[old]
        tokens[token.id] = {"gateway": gateway, "until_s": int(now + hours * 3600), "secret": token.secret.hex()}
    return token


def revoke(data: Path, gateway: str) -> None:
    """Let the gateway in no longer, and take back its unused tokens. Raises SetupError if there was neither."""
    with locked_json(data / FILE) as tokens:
        unused = [name for name, one in tokens.items() if one["gateway"] == gateway and one["secret"] is not None]
        for name in unused:
            del tokens[name]
        enrolled = logins.revoke(data, gateway)
    if not (enrolled or unused):
        raise SetupError(f"no gateway {gateway!r} is enrolled, and no token for it is unused")


def enrol(data: Path, token: str, csr: str, proof: str, *, now_s: float | None = None) -> Enrolled:
    """Sign the request and let its gateway in at once; the token, an id, is then used up. Raises EnrolmentError."""
    now = time.time() if now_s is None else now_s
    with locked_json(data / FILE) as tokens:
        known = tokens.get(token)
        if known is None:
            raise EnrolmentError("token", "the hub does not know this token; make one with `kerb hub enrol`")
        if known["secret"] is None:
            raise EnrolmentError("token", "this token was used before; make another one with `kerb hub enrol`")
        if known["until_s"] <= now:
            raise EnrolmentError("token", "this token has expired; make another one with `kerb hub enrol`")
        secret = bytes.fromhex(known["secret"])
        if not same(request_proof(secret, csr.encode()), proof):
            raise EnrolmentError(
                "proof", "the proof is wrong: the request was not made with this token, or was changed"
            )
        gateway = known["gateway"]
        checked_csr(csr.encode(), gateway)  # before anything changes
        authority = Authority(data)
        certificate = authority.sign(csr.encode(), gateway, logins.admit(data, gateway))
        known["secret"] = None
    made = answer_proof(secret, certificate, authority.pem)
    return Enrolled(certificate.decode(), authority.pem.decode(), made)
