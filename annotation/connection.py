"""An HTTP connection that is closed when its block ends."""

from types import TracebackType
from typing import Self

import httpx


class Connection:
    """What the administrator's client and a person's browser have in common."""

    _http: httpx.Client

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
