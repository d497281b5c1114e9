"""The schema of the configuration file and its parser judge the same tables in the same way."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from serial_host.configuration.config_file import ConfigError, Entry, parse, parse_port
from serial_host.configuration.file_schema import schema

ROOT = Path(__file__).parents[3]
SCHEMA = Draft202012Validator(schema())
ENTRY = Draft202012Validator({"$ref": "#/$defs/Entry", "$defs": schema()["$defs"]})

HOW_TO = (
    "\nThe key {key!r} is new in a [[ports]] table. In the Field of host/serial_host/configuration/config_file.py write a"
    " `description` (what is expected, as a message says it); a check that pydantic cannot write as JSON Schema needs a"
    " pattern from patterns.py beside it. Add a right value to RIGHT here, then run `make schemas`."
)

RIGHT: dict[str, list[Any]] = {
    "device": ["COM3", r"\\.\COM12", "/dev/ttyUSB0"],
    "match": [{"vid": "0403", "pid": "0x6001"}, {"serial": "A12345"}, {"location": "1-4.2"}],
    "tcp_port": [1, 5002, 65535],
    "listen": ["vEthernet (WSL)", ["127.0.0.1", "vEthernet (Default Switch)"]],
    "allow": ["10.0.0.1", ["172.16.0.0/12", "fd00::/8"], [], "10.0.0.0/255.0.0.0", "fe80::1%eth0/64"],
    "protocol": ["raw", "rfc2217"],
    "open": ["always", "on_client"],
    "take_over": [True],
    "baud_rate": [1, 9600, 2**32 - 1],
    "data_bits": [5, 8],
    "parity": ["none", "even", "odd", "mark", "space"],
    "stop_bits": [1, 1.5, 2],
    "flow_control": ["none", "rts_cts", "xon_xoff", "dsr_dtr"],
    "dtr": [False],
    "rts": [True],
    "rs485": [True],
    "tls": [False],
}
WRONG: list[tuple[str, Any]] = [
    ("device", ""), ("device", " "), ("device", 3), ("device", "a\n"), ("device", ["COM3"]),
    ("tcp_port", 0), ("tcp_port", 65536), ("tcp_port", "5002"), ("tcp_port", True), ("tcp_port", 5002.5),
    ("listen", []), ("listen", ""), ("listen", [""]), ("listen", 5), ("listen", [5]), ("listen", {}),
    ("allow", "10.0.0"), ("allow", ["10.0.0.0/33"]), ("allow", "host"), ("allow", 5), ("allow", ["::/129"]),
    ("allow", "10.0.0.0/255.0.255.0"), ("allow", "1::2::3"), ("allow", "010.0.0.1"), ("allow", ""), ("allow", [[]]),
    ("protocol", "RAW"), ("protocol", 1), ("open", "onClient"), ("open", True), ("take_over", "yes"), ("take_over", 1),
    ("baud_rate", 0), ("baud_rate", 2**32), ("baud_rate", "9600"), ("data_bits", 9), ("data_bits", "8"),
    ("parity", "E"), ("parity", ["even"]), ("stop_bits", 3), ("stop_bits", "1"), ("stop_bits", True),
    ("flow_control", "rtscts"), ("dtr", "on"), ("rts", 0), ("rs485", "true"), ("baudrate", 9600), ("host", "h"),
    ("match", {}), ("match", {"vid": 403}), ("match", {"vid": "12345"}), ("match", {"vid": "xyz"}),
    ("match", {"serial": ""}), ("match", {"vendor": "0403"}), ("match", "0403"), ("match", {"pid": "6001\n"}),
]  # fmt: skip


def refused_by_the_schema(entry: object) -> set[str]:
    keys: set[str] = set()
    for error in ENTRY.iter_errors(entry):
        keys |= _keys(error)
    return keys


def _keys(error: ValidationError) -> set[str]:
    path = [str(part) for part in error.absolute_path if isinstance(part, str)]
    judged, instance = cast("dict[str, Any]", error.schema), cast("dict[str, Any]", error.instance)
    match error.validator:
        case "required":
            return {".".join([*path, key]) for key in judged["required"] if key not in instance}
        case "additionalProperties":
            return {".".join([*path, key]) for key in instance if key not in judged["properties"]}
        case _:
            return {".".join(path)}


def refused_by_the_parser(entry: dict[str, Any]) -> set[str]:
    try:
        parse_port(entry, "file")
    except ConfigError as error:
        return {
            key if re.fullmatch(r"[\w.]+", key) else ""
            for line in str(error).splitlines()
            for key in [line.removeprefix("file: ").partition(": ")[0]]
        }
    return set()


def with_a_device(entry: dict[str, Any]) -> dict[str, Any]:
    return {"tcp_port": 5002} | ({} if "match" in entry else {"device": "COM3"}) | entry


@pytest.mark.parametrize("key", Entry.model_fields)
def test_each_key_has_a_description_and_right_values(key: str) -> None:
    assert Entry.model_fields[key].description, HOW_TO.format(key=key)
    assert RIGHT.get(key), HOW_TO.format(key=key)
    for value in RIGHT[key]:
        entry = with_a_device({key: value})
        assert refused_by_the_parser(entry) == refused_by_the_schema(entry) == set(), (key, value)


def test_there_are_more_than_fifty_wrong_tables() -> None:
    assert len(WRONG) > 50


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_schema_and_parser_refuse_a_wrong_value_at_the_same_key(key: str, value: Any) -> None:
    entry = with_a_device({key: value})
    by_parser = refused_by_the_parser(entry)
    assert {path.partition(".")[0] for path in by_parser} == {key}
    assert by_parser == refused_by_the_schema(entry)


@pytest.mark.parametrize(
    "entry",
    [
        {"tcp_port": 1},
        {"tcp_port": 1, "device": "COM3", "match": {"vid": "0403"}},
        {"tcp_port": 1, "device": "COM3", "rs485": True, "flow_control": "rts_cts"},
        {"device": "COM3"},
        {},
    ],
)
def test_what_does_not_fit_together_is_refused_by_both(entry: dict[str, Any]) -> None:
    assert refused_by_the_parser(entry)
    assert refused_by_the_schema(entry)


@pytest.mark.parametrize(
    "document", [{}, {"ports": []}, {"ports": {}}, {"ports": [5]}, {"ports": [{}], "device": "COM3"}]
)
def test_a_file_without_tables_is_refused_by_both(document: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        parse(document, "file")
    assert not SCHEMA.is_valid(document)


addresses = st.from_regex(r"\A([0-9a-f]{0,4}:){2,8}[0-9a-f]{0,4}(/[0-9]{1,3})?\Z") | st.text(
    "0123456789./:af%", max_size=14
)
values = st.recursive(
    st.booleans()
    | st.integers(-1, 70000)
    | st.sampled_from(
        [2**32, 1.5, 0.5, "raw", "always", "none", "COM3", "0403", "6001", "10.0.0.0/8", "", " "]
    )
    | addresses
    | st.text(st.characters(codec="utf-8", max_codepoint=0xFF), max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["vid", "pid", "serial", "x"]), inner, max_size=2)
    ),
    max_leaves=3,
)
right = st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in RIGHT.items()})
entries = st.builds(
    lambda entry, wrong: entry | wrong,
    right,
    st.dictionaries(st.sampled_from([*RIGHT, "x"]), values, max_size=2),
)


@settings(
    max_examples=400, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip
@given(entries)
def test_schema_and_parser_judge_any_table_in_the_same_way(entry: dict[str, Any]) -> None:
    by_parser, by_schema = refused_by_the_parser(entry), refused_by_the_schema(entry)
    assert bool(by_parser) == bool(by_schema), (entry, by_parser, by_schema)
    assert by_parser - {"", "match"} <= by_schema, (entry, by_parser, by_schema)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(addresses)
def test_schema_and_parser_judge_any_network_in_the_same_way(address: str) -> None:
    entry = with_a_device({"allow": address})
    assert refused_by_the_parser(entry) == refused_by_the_schema(entry), address


def test_the_sample_names_the_schema_beside_it_and_fits_it() -> None:
    sample = ROOT / "host/windows/serial-host.sample.toml"
    text = sample.read_text(encoding="utf-8")
    first = text.splitlines()[0]
    assert first.startswith("#:schema ")
    assert (sample.parent / first.removeprefix("#:schema ")).is_file()
    SCHEMA.validate(tomllib.loads(text))


def test_every_setting_of_the_sample_is_right_for_the_schema() -> None:
    text = (ROOT / "host/windows/serial-host.sample.toml").read_text(encoding="utf-8")
    ports, _, tls = text.partition("# [tls]\n")
    shown = re.findall(r"^# ?(\w+ = .+)$", ports, re.MULTILINE)
    assert len(shown) > 10
    for line in shown:
        entry = with_a_device(tomllib.loads(line))
        assert refused_by_the_schema(entry) == set(), line
    table = tomllib.loads("\n".join(re.findall(r"^# ?(\w+ = .+)$", tls, re.MULTILINE)))
    assert len(table) > 5
    SCHEMA.validate({"ports": [with_a_device({})], "tls": table})
