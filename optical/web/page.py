"""The page: ``page.html``, complete in itself, and the headers that hold a browser to that.

The policy allows the page's own style and script, by their checksums, and questions to the server that it came from;
whatever a passage may contain, nothing of it is run or fetched.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path


def load() -> tuple[str, dict[str, str]]:
    """The HTML, and the headers to send with it."""
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
    """Checksums of the elements with this tag, as a policy names them."""
    parts = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)
