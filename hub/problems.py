"""Errors of the web API as application/problem+json (RFC 9457), naming the field that is wrong."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from hub.errors import StoreError


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    field: str
    reason: str


class Problem(BaseModel):
    """RFC 9457: the body of every answer that is an error."""

    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


class ProblemError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, title: str, field: str, reason: str):
        super().__init__(f"{field}: {reason}")
        self.problem = Problem(
            title=title, status=status, detail=f"{field}: {reason}", errors=[FieldError(field=field, reason=reason)]
        )


def _answer(problem: Problem) -> JSONResponse:
    return JSONResponse(problem.model_dump(), problem.status, media_type="application/problem+json")


async def _own(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)
    return _answer(error.problem)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    fields = [FieldError(field=".".join(map(str, e["loc"][1:])), reason=e["msg"]) for e in error.errors()]
    detail = "; ".join(f"{one.field}: {one.reason}" for one in fields)
    return _answer(Problem(title="The request is not valid", status=422, detail=detail, errors=fields))


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _answer(Problem(title=str(error.detail), status=error.status_code, detail=request.url.path))


async def _no_store(request: Request, error: Exception) -> JSONResponse:
    return _answer(Problem(title="The store cannot be read now", status=503, detail=str(error)))


def install(app: FastAPI) -> None:
    """Let the application answer every error as a problem."""
    app.add_exception_handler(ProblemError, _own)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(StoreError, _no_store)
