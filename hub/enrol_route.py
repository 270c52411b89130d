"""The one route of the web API that changes something: a gateway enrols with its one-time token."""

import asyncio
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError

from hub.enrolment import enrol
from hub.errors import EnrolmentError
from hub.problems import Problem, ProblemError
from runtime.enrolment import MAX_BYTES, PATH


class EnrolRequest(BaseModel):
    """What a gateway sends. The token's secret is not in it, since this may travel over plain HTTP."""

    token: str = Field(pattern=r"^[0-9a-f]{10}$", description="the token's id")
    csr: str = Field(max_length=8192, description="certificate signing request, PEM: EC P-256, CN is the gateway's id")
    proof: str = Field(pattern=r"^[0-9a-f]{64}$", description="HMAC-SHA-256 of csr with the token's secret, hex")


class EnrolAnswer(BaseModel):
    """What the gateway needs to log in at the hub's broker."""

    certificate: str = Field(description="PEM")
    ca: str = Field(description="PEM; its fingerprint is in the token")
    proof: str = Field(description="HMAC with the token's secret, of both certificates' hashes")


_BODY = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": EnrolRequest.model_json_schema()}}}
}


def make_router(data: Path) -> APIRouter:
    """The route, over the hub's files."""
    router = APIRouter()

    @router.post(PATH, tags=["gateways"], openapi_extra=_BODY, responses={403: {"model": Problem}})
    async def enrol_gateway(request: Request) -> EnrolAnswer:
        """Exchange a one-time token for a client certificate."""
        try:
            asked = EnrolRequest.model_validate_json(await _body(request))
        except ValidationError as error:
            raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]) from error
        try:
            return EnrolAnswer(**vars(await asyncio.to_thread(enrol, data, asked.token, asked.csr, asked.proof)))
        except EnrolmentError as error:
            raise ProblemError(403, "The gateway is not enrolled", error.field, error.reason) from error

    return router


async def _body(request: Request) -> bytes:
    """The body, which is measured before it is read to its end."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MAX_BYTES:
            raise ProblemError(413, "The request is too long", "body", f"it may have {MAX_BYTES} bytes")
    return content
