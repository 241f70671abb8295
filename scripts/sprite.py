"""Make static/icons.svg, the one sprite of the icons used, from the npm package @tabler/icons (MIT).

npm pack @tabler/icons@3.52.0 && tar xf tabler-icons-3.52.0.tgz
python scripts/sprite.py package/icons/outline
"""

import re
import sys
from pathlib import Path

#: name in the console: name in the package
ICONS = {
    "home": "layout-dashboard",
    "cube": "cube",
    "store": "building-store",
    "list": "list-check",
    "activity": "activity",
    "search": "search",
    "download": "download",
    "play": "player-play",
    "pause": "player-pause",
    "stop": "player-stop",
    "trash": "trash",
    "x": "x",
    "refresh": "refresh",
    "check": "check",
    "ready": "circle-check",
    "working": "loader-2",
    "waiting": "clock",
    "attention": "alert-triangle",
    "failed": "circle-x",
    "resting": "circle-dashed",
    "info": "info-circle",
    "right": "chevron-right",
    "dots": "dots",
    "moon": "moon",
    "sun": "sun",
    "user": "user",
    "out": "logout",
    "cpu": "cpu",
    "memory": "stack-2",
    "disk": "database",
    "gpu": "device-desktop-analytics",
    "link": "external-link",
    "file": "file",
    "keyboard": "keyboard",
    "menu": "menu-2",
    "send": "send",
    "log": "file-text",
    "admin": "shield-lock",
    "scale": "scale",
    "tag": "tag",
    "up": "arrow-up",
    "down": "arrow-down",
}
#: The mark of the console: three bars of a meter in a rounded square.
LOGO = (
    '<symbol id="logo" viewBox="0 0 24 24"><rect x="1.5" y="1.5" width="21" height="21" rx="6" fill="currentColor"/>'
    '<path d="M7.5 16.5v-4M12 16.5v-9M16.5 16.5v-6" stroke="#fff" stroke-width="2.2" stroke-linecap="round"/></symbol>'
)


def symbol(name: str, svg: str) -> str:
    body = re.sub(r"<!--.*?-->", "", svg, flags=re.S)
    match = re.search(r"<svg[^>]*>(.*)</svg>", body, flags=re.S)
    if not match:
        raise ValueError(f"{name} is not an SVG")
    inner = re.sub(r"\s+", " ", match[1]).strip().replace(' stroke="none" d="M0 0h24v24H0z" fill="none"', "")
    inner = inner.replace("<path/>", "").replace("<path />", "")
    return f'<symbol id="{name}" viewBox="0 0 24 24">{inner}</symbol>'


def main(folder: Path) -> None:
    symbols = [symbol(name, (folder / f"{file}.svg").read_text()) for name, file in ICONS.items()]
    target = Path(__file__).resolve().parent.parent / "static" / "icons.svg"
    target.write_text('<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join([*symbols, LOGO]) + "\n</svg>\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
