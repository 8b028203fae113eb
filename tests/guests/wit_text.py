"""One self-contained WIT text from a world and the WASI packages that come with jco."""

from __future__ import annotations

import re
from pathlib import Path

# The packages are bundled in this version; any 0.2.x has the same functions as far as our guests use them,
# and a guest's component holds only what the guest imports, so renumbering gives the older interfaces.
BUNDLED_VERSION = "0.2.12"


def with_wasi(world: str, version: str, node_modules: Path) -> str:
    """`world` with `@VERSION` replaced, followed by all of WASI at that version as nested packages.

    Args:
        world: A WIT package with a world, its imports written `wasi:...@VERSION`.
        version: The WASI version to import, "0.2.N".
        node_modules: Where jco is installed.
    """
    bundled = node_modules / "@bytecodealliance" / "jco" / "lib" / "wit" / "builtin" / BUNDLED_VERSION
    texts = [world.replace("@VERSION", f"@{version}")]
    for package in sorted(bundled.glob("*/package.wit")):
        text = package.read_text().replace(f"@{BUNDLED_VERSION}", f"@{version}")
        text, found = re.subn(r"^package (wasi:[a-z]+@[0-9.]+);", r"package \1 {", text, count=1, flags=re.M)
        if not found:
            raise ValueError(f"{package} does not begin with a package of WASI")
        texts.append(f"{text.rstrip()}\n}}\n")
    return "\n".join(texts)
