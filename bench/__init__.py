"""Benchmarks: `proxy` (whole proxies), `micro` (primitives), `gate` (instruction counts).

They share the real programs and the clients of the tests, which lie under tests/py.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "py"))
