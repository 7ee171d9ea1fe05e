"""Rewrites every generated file from its source; with --check, only says which differ."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / path) for path in ("src", "tools", "tests/py")]

import differences  # noqa: E402

import gen_known_headers  # noqa: E402
from meshcore.config import defaults, support  # noqa: E402


def generated() -> dict[Path, str]:
    """File to the text it must hold."""
    entries = defaults.parse((ROOT / "csrc/base/defaults.def").read_text("utf-8"))
    return {
        ROOT / "src/meshcore/config/defaults.toml": defaults.toml(entries),
        ROOT / "docs/defaults.md": defaults.markdown(entries),
        ROOT / "docs/differences.md": differences.page(),
        ROOT / "docs/support.md": support.document(),
        gen_known_headers.TARGET: gen_known_headers.render(),
    }


def main(arguments: list[str]) -> int:
    stale = []
    for path, text in generated().items():
        if not path.is_file() or path.read_text("utf-8") != text:
            stale.append(path.relative_to(ROOT).as_posix())
            if arguments != ["--check"]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
    for name in stale:
        print(f"{name}: {'out of date' if arguments == ['--check'] else 'written'}")
    return 1 if stale and arguments == ["--check"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
