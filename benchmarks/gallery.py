"""Make the pictures of docs/gallery.md by running the code of that page.

python benchmarks/gallery.py
"""

import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run the blocks of the page in docs/images."""
    page = (ROOT / "docs/gallery.md").read_text(encoding="utf-8")
    os.chdir(ROOT / "docs/images")
    names: dict = {"__name__": "__gallery__"}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(code, "docs/gallery.md", "exec"), names)


if __name__ == "__main__":
    main()
