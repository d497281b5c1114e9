from __future__ import annotations

import pytest

from tests.container.create_options import (
    Json,
    UnknownOptionError,
    hardened,
    module_arguments,
    podman_arguments,
)


def test_each_option_has_its_argument() -> None:
    options = {
        "User": "1000:1000",
        "Env": ["A=1", "B=2"],
        "HostConfig": {
            "Binds": ["/dev:/dev", "state:/var/lib/x"],
            "CapDrop": ["ALL"],
            "CapAdd": ["CHOWN"],
            "GroupAdd": ["10"],
            "SecurityOpt": ["no-new-privileges"],
            "ReadonlyRootfs": True,
            "Privileged": False,
            "Tmpfs": {"/run/x": "rw,size=64k"},
            "PidsLimit": 64,
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        },
    }
    assert " ".join(podman_arguments(options)) == (
        "--user 1000:1000 --env A=1 --env B=2 --volume /dev:/dev --volume state:/var/lib/x --cap-drop ALL"
        " --cap-add CHOWN --group-add 10 --security-opt no-new-privileges --read-only --read-only-tmpfs=false"
        " --tmpfs /run/x:rw,size=64k --pids-limit 64 --log-driver json-file --log-opt max-size=10m"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"Tty": True}, "Tty: True"),
        ({"HostConfig": {"Devices": []}}, r"HostConfig\.Devices: \[\]"),
        ({"HostConfig": {"Privileged": True}}, r"HostConfig\.Privileged: True"),
        ({"HostConfig": {"ReadonlyRootfs": False}}, r"HostConfig\.ReadonlyRootfs: False"),
        (
            {"HostConfig": {"LogConfig": {"Type": "local", "Config": {"tag": "x"}}}},
            r"HostConfig\.LogConfig\.Config\.tag",
        ),
    ],
)
def test_what_has_no_translation_is_refused_by_name(options: Json, message: str) -> None:
    with pytest.raises(UnknownOptionError, match=message):
        podman_arguments(options)


def test_a_modules_environment_is_added() -> None:
    module = {"env": {"SERIAL_GID": {"value": "10"}, "METRICS_PORT": {"value": 0}}}
    assert module_arguments(module, {"Env": ["A=1"]}) == [
        *("--env", "A=1"),
        *("--env", "SERIAL_GID=10"),
        *("--env", "METRICS_PORT=0"),
    ]


def test_a_hardened_host_takes_what_could_make_one_root_of_it() -> None:
    options = {"HostConfig": {"CapAdd": ["NET_ADMIN"], "Privileged": True, "CapDrop": ["ALL"]}}
    assert hardened(options) == {
        "HostConfig": {"Privileged": False, "CapDrop": ["CHOWN", "SETUID", "ALL"]},
    }
    assert options["HostConfig"]["Privileged"] is True, "the argument is left as it is"


def test_a_hardened_host_drops_capabilities_also_where_nothing_is_said() -> None:
    assert hardened({}) == {"HostConfig": {"CapDrop": ["CHOWN", "SETUID"]}}
