"""A site's package index, proxies and certificate authorities, on their way into a build.

They travel as build secrets: files that the RUNs of the build stage mount, found in no layer, no
history and no environment of an image.
"""

from __future__ import annotations

import ast
import os
import shlex
import ssl
import subprocess
import sys
from pathlib import Path

SCRIPT = "site.sh"
AUTHORITIES = "ca.crt"
"""The secrets' ids; the build finds them as /run/secrets/ID."""

_PASSED_ON = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "PIP_DEFAULT_TIMEOUT",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_INDEX_STRATEGY",
    "UV_INSECURE_HOST",
    "UV_HTTP_TIMEOUT",
    *(
        spelled
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
        for spelled in (name, name.upper())
    ),
)
_FROM_PIP = {
    "index-url": ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
    "extra-index-url": ("PIP_EXTRA_INDEX_URL", "UV_INDEX"),
    "trusted-host": ("PIP_TRUSTED_HOST", "UV_INSECURE_HOST"),
}
"""pip's settings -> pip's variable, and uv's: uv does not read pip's files, and a site that has set
up one of them means both."""
_AUTHORITY_FILES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def site_secrets(folder: Path) -> dict[str, Path]:
    """Write this machine's settings into a folder; return the secrets of a build by id."""
    settings = _pip_settings()
    exported: dict[str, str] = {}
    for setting, variables in _FROM_PIP.items():
        if setting in settings:
            exported |= dict.fromkeys(variables, settings[setting])
    exported |= {name: os.environ[name] for name in _PASSED_ON if os.environ.get(name)}
    secrets: dict[str, Path] = {}
    if authorities := _authorities(settings):
        secrets[AUTHORITIES] = authorities
        for name in ("PIP_CERT", "SSL_CERT_FILE"):
            exported[name] = f"/run/secrets/{AUTHORITIES}"
    script = folder / SCRIPT
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in exported.items()]
    script.write_text("".join(lines), encoding="utf-8")
    return {SCRIPT: script, **secrets}


def _pip_settings() -> dict[str, str]:
    """What pip's files and variables say, under pip's names; the more special wins."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=False,  # no pip here, no settings of pip's
    )
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        section, _, setting = name.rpartition(".")
        if section in found:
            # One setting may stand on several lines of its file; variables take them on one.
            found[section][setting] = " ".join(str(ast.literal_eval(value)).split())
    return found["global"] | found["install"] | found[":env:"]


def _authorities(pip_settings: dict[str, str]) -> Path | None:
    candidates = [
        *(os.environ.get(name) for name in _AUTHORITY_FILES),
        pip_settings.get("cert"),
        _SYSTEM_AUTHORITIES,
        ssl.get_default_verify_paths().cafile,
    ]
    files = (Path(candidate) for candidate in candidates if candidate)
    return next((file for file in files if file.is_file()), None)
