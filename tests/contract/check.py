"""The contract retrain/v1 as a check that belongs to neither side, and the files that both are tested with."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

HERE = Path(__file__).parent
RESULT_MAX_BYTES = 3072


def violation(message: str) -> str | None:
    """The first thing that is wrong with a termination message; None when it is a valid result."""
    if len(message.encode()) > RESULT_MAX_BYTES:
        return f"longer than {RESULT_MAX_BYTES} bytes"
    try:
        result = json.loads(message, parse_constant=_refuse_constant, parse_int=_int64)
    except ValueError as error:
        return f"not JSON: {error}"
    errors = sorted(_validator().iter_errors(result), key=lambda error: error.json_path)
    return f"{errors[0].json_path}: {errors[0].message}" if errors else None


def read(name: str) -> Any:
    """Content of a JSON file of this folder."""
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def valid_messages() -> dict[str, str]:
    """Termination messages that must be accepted, by file name without ending."""
    return {path.stem: json.dumps(json.loads(path.read_text()), separators=(",", ":")) for path in sorted(HERE.glob("results/*.json"))}


def broken_messages() -> dict[str, tuple[str, str]]:
    """Termination messages that must be refused, with the reason why, by file name without ending."""
    found = {}
    for path in sorted(HERE.glob("broken/*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        found[path.stem] = (content["text"] if "text" in content else json.dumps(content["result"]), content["why"])
    return found


@cache
def _validator() -> Draft202012Validator:
    schema = read("result.schema.json")
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def _int64(text: str) -> int:
    """What the API server can hold; JSON Schema has no word for it that each integer field would not have to repeat."""
    if not -(2**63) <= (number := int(text)) < 2**63:
        raise ValueError(f"{text[:20]}… is too large an integer")
    return number


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
