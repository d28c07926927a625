"""The search page, ``page.html``, and security headers: its own, and those of every answer.

The content security policy allows the page's own style and script, by their checksums, and requests to its own server;
nothing that a passage contains is run or fetched.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

HEADERS = {  # of every answer that does not say otherwise
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def load() -> tuple[str, dict[str, str]]:
    """Read the HTML and make the headers to send with it."""
    html = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; style-src {_allowed(html, 'style')}; script-src {_allowed(html, 'script')}; "
        "connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return html, {**HEADERS, "Content-Security-Policy": policy, "Cache-Control": "no-cache"}


def with_headers(app: Any) -> Any:
    """The ASGI application with :data:`HEADERS` on every answer."""
    from starlette.datastructures import MutableHeaders

    async def application(scope: Any, receive: Any, send: Any) -> None:
        async def safely(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await app(scope, receive, safely)

    return application


def _allowed(html: str, tag: str) -> str:
    """Checksums of the inline elements with this tag, in the syntax of the policy."""
    parts = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)
