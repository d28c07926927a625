"""The search page, ``page.html``, and its security headers.

The content security policy allows the page's own style and script, by their checksums, and requests to its own server;
nothing that a passage contains is run or fetched.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path


def load() -> tuple[str, dict[str, str]]:
    """Read the HTML and make the headers to send with it."""
    html = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; style-src {_allowed(html, 'style')}; script-src {_allowed(html, 'script')}; "
        "connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return html, {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


def _allowed(html: str, tag: str) -> str:
    """Checksums of the inline elements with this tag, in the syntax of the policy."""
    parts = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)
