"""Docker, Podman and Buildah, as far as building an image and looking into it goes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class ImageError(Exception):
    """An image cannot be built or looked into; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Builder:
    """One of the programs, found to work."""

    program: str

    def has(self, image: str) -> bool:
        """Whether this machine holds the image."""
        return self._run("inspect", "--type", "image", image, check=False).returncode == 0

    def pull(self, image: str) -> str:
        """Fetch an image; return why it could not be fetched, or nothing."""
        done = self._run("pull", image, check=False)
        return "" if done.returncode == 0 else _last_line(done.stderr)

    def build(
        self,
        containerfile: Path,
        context: Path,
        *,
        tag: str,
        arguments: Mapping[str, str],
        labels: Mapping[str, str],
        secrets: Mapping[str, Path],
    ) -> None:
        """Build an image, its progress on this program's own output.

        Args:
            containerfile: What to build.
            context: The folder that COPY reads.
            tag: The image's reference.
            arguments: Values of the Containerfile's ARGs.
            labels: Labels beside those of the Containerfile.
            secrets: Files that its RUNs may mount, by id; they are in no layer.

        Raises:
            ImageError: The build failed; its own words were printed.
        """
        command = [self.program, "build"]
        if self.program != "docker":
            # The machine's own network: a proxy of the site may listen on the machine itself.
            command += ["--network=host", "--layers"]
        command += [f"--file={containerfile}", f"--tag={tag}"]
        command += [f"--build-arg={name}={value}" for name, value in arguments.items()]
        command += [f"--label={name}={value}" for name, value in labels.items()]
        command += [f"--secret=id={name},src={path}" for name, path in secrets.items()]
        # Secrets are BuildKit's; a docker before version 23 uses it only when told to.
        environ = {**os.environ, "DOCKER_BUILDKIT": "1"}
        done = subprocess.run([*command, str(context)], env=environ, check=False)
        if done.returncode != 0:
            raise ImageError(
                f"{containerfile}: {self.program} could not build {tag} (status "
                f"{done.returncode}); its own words are above. Where it may start no containers, "
                "inside one for instance, BUILDAH_ISOLATION=chroot does without"
            )

    def python(self, image: str, program: str) -> str:
        """Run a Python program inside an image, as root and off line; return what it prints."""
        if self.program == "buildah":
            container = self._run("from", "--pull-never", image).stdout.strip()
            try:
                return self._run(
                    "run", "--user=0", container, "--", "python3", "-c", program
                ).stdout
            finally:
                self._run("rm", container)
        command = ["run", "--rm", "--network=none", "--user=0", "--entrypoint=python3"]
        if self.program == "podman":
            # It asks for more than a machine may give; where that is refused, nothing starts.
            command += ["--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"]
        return self._run(*command, image, "-c", program).stdout

    def _run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.program, *arguments], capture_output=True, text=True, check=False
        )
        if check and done.returncode != 0:
            raise ImageError(f"{self.program} {arguments[0]}: {_last_line(done.stderr)}")
        return done


PROGRAMS = ("docker", "podman", "buildah")
"""In the order of choice: where a Docker daemon answers, the machine's other tools look for images
there; Podman needs no daemon and runs what it builds, Buildah only builds."""


def find_builder(wanted: str | None = None) -> Builder:
    """Return the first program that works, or the one named.

    Raises:
        ImageError: None works; the message has each one's reason.
    """
    reasons = []
    for program in PROGRAMS if wanted is None else (wanted,):
        if shutil.which(program) is None:
            reasons.append(f"{program} is not installed")
            continue
        # Fails where there is no daemon, and where storage or user namespaces are not set up.
        done = subprocess.run([program, "info"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return Builder(program=program)
        reasons.append(f"{program} does not work: {_last_line(done.stderr)}")
    raise ImageError(
        f"nothing here builds images: {'; '.join(reasons)}. "
        "One of docker, podman and buildah is needed; on Debian: sudo apt-get install podman"
    )


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason")
