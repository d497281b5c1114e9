"""Process settings, from environment variables. What a running module can change stands in its twin instead."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, IPvAnyAddress, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from serial_relay.plumbing.log import LEVELS, known_level
from serial_relay.plumbing.text import shown
from serial_relay.twin.methods import METHOD_NAMES


class SettingsError(Exception):
    """Environment variables that cannot be used, one line of text each."""


def _check_absolute(value: Path) -> Path:
    if not value.is_absolute():
        raise ValueError
    return value


def _split_methods(value: object) -> object:
    if not isinstance(value, str):
        return value
    names = frozenset(name.strip() for name in value.split(",") if name.strip())
    if "*" in names:
        return frozenset(METHOD_NAMES)
    if not names <= METHOD_NAMES:
        raise ValueError
    return names


_AbsolutePath = Annotated[Path, AfterValidator(_check_absolute)]


class Settings(BaseSettings):
    """The settings from the environment of the process; a field's alias is the variable's name."""

    model_config = SettingsConfigDict(frozen=True, case_sensitive=True, populate_by_name=True, extra="ignore")

    link_dir: _AbsolutePath = Field(
        default=Path("/dev"), alias="LINK_DIR", description="an absolute path, the directory of the links"
    )
    serial_gid: int = Field(
        default=10, alias="SERIAL_GID", ge=0, le=2**32 - 2, description="a number of a group, 0-4294967294"
    )
    """Group of the virtual ports by default; 10 is `dialout` on Azure Linux (20 on Debian)."""
    state_dir: Annotated[_AbsolutePath | None, BeforeValidator(lambda value: value or None)] = Field(
        default=None, alias="STATE_DIR", description="an absolute path, or empty to keep nothing on disk"
    )
    """Where the last good document and the module's own key are kept."""
    log_level: Annotated[str, AfterValidator(known_level)] = Field(
        default="info", alias="RuntimeLogLevel", description=f"one of {', '.join(LEVELS)}"
    )
    """The name is the IoT Edge runtime's, which sets it for every module."""
    allowed_methods: Annotated[frozenset[str], NoDecode, BeforeValidator(_split_methods)] = Field(
        default=METHOD_NAMES,
        alias="ALLOWED_METHODS",
        description=f"'*', or some of {', '.join(sorted(METHOD_NAMES))} with commas between, or empty for none",
    )
    metrics_port: int = Field(
        default=9600,
        alias="METRICS_PORT",
        ge=0,
        le=65535,
        description="a TCP port, 1-65535, or 0 for no metrics",
    )
    metrics_address: IPvAnyAddress = Field(
        default=IPv4Address("127.0.0.1"),
        alias="METRICS_ADDRESS",
        description="an address of this machine, 0.0.0.0 for all of them",
    )
    """Loopback, because a plain Linux machine needs no more; in a container only 0.0.0.0 is reached from outside."""
    health_socket: Annotated[_AbsolutePath | None, BeforeValidator(lambda value: value or None)] = Field(
        default=None, alias="HEALTH_SOCKET", description="an absolute path of a socket, or empty for none"
    )
    """The socket that `python -m serial_relay.process.health` asks."""
    plug_and_play: bool = Field(default=False, alias="PLUG_AND_PLAY", description="true or false")
    """Whether the module announces its DTDL model and reports in the form of IoT Plug and Play."""


def read_settings() -> Settings:
    """Read the environment.

    Raises:
        SettingsError: with a line for each variable that cannot be used.
    """
    try:
        return Settings()
    except ValidationError as invalid:
        lines = []
        for error in invalid.errors(include_url=False):
            name = str(error["loc"][0])
            lines.append(f"{name} must be {_description(name)}, not {shown(error['input'])}")
        raise SettingsError("\n".join(lines)) from None


def _description(name: str) -> str | None:
    return next(field.description for field in Settings.model_fields.values() if field.alias == name)
