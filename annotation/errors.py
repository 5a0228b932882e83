"""What went wrong between us and Label Studio, in words a person can act on."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from label_studio_sdk.core.api_error import ApiError

TIMEOUT = httpx.Timeout(60, connect=5)  # seconds

# By status; None = no answer at all.
HINTS: dict[int | None, str] = {
    None: "Check that it runs and that its address is right.",
    400: "It names the field that it does not like.",
    401: "Check the token, and that access tokens of its kind are switched on in the organisation's settings.",
    403: "The account may not do this, or the proxy or Label Studio's guard against private addresses is in the way.",
    404: "It was deleted there, or belongs to another installation.",
    409: "It is there already.",
    413: "Send less at once, or raise the proxy's limit.",
}
SERVER_FAULT = "Look into Label Studio's log."


class LabelStudioError(Exception):
    """A request that Label Studio refused or did not answer. `status`: the HTTP status, None without an answer."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Errors of the two HTTP layers inside come out as LabelStudioError: what was tried, what came, what to do."""
    try:
        yield
    # `from None`: the originals carry request headers, and with them the token, into tracebacks and logs.
    except ApiError as error:
        raise _refusal(doing, error.status_code, error.body) from None
    except httpx.HTTPStatusError as error:
        raise _refusal(doing, error.response.status_code, _body(error.response)) from None
    except json.JSONDecodeError:
        raise LabelStudioError(
            f"Something else than Label Studio answered when asked to {doing}. {HINTS[None]}"
        ) from None
    except httpx.TimeoutException as error:
        raise LabelStudioError(
            f"Label Studio took too long to {doing} ({type(error).__name__}). {HINTS[None]}"
        ) from None
    except httpx.HTTPError as error:
        raise LabelStudioError(f"Label Studio could not be reached to {doing}: {error}. {HINTS[None]}") from None


def _refusal(doing: str, status: int | None, body: Any) -> LabelStudioError:
    hint = HINTS.get(status, SERVER_FAULT)
    return LabelStudioError(f"Label Studio refused to {doing} (HTTP {status}: {_reason(body)}). {hint}", status=status)


def _reason(body: Any) -> str:
    """The part of an error body that says why, cut to what fits a line."""
    if isinstance(body, dict):
        body = body.get("validation_errors") or body.get("detail") or body
    return " ".join(str(body).split())[:500]


def _body(response: httpx.Response) -> Any:
    if "json" not in response.headers.get("content-type", ""):
        return response.reason_phrase  # a page made for people
    try:
        return response.json()
    except json.JSONDecodeError:
        return response.text
