"""Parse JSON of the user, with plain messages for mistakes in it."""

import json
from collections.abc import Callable
from typing import Any

from assembler.errors import Message, RequestError

Pairs = list[tuple[str, Any]]


def load_json(content: bytes, source: str, hook: Callable[[Pairs], Any] = dict) -> Any:
    """The value in a JSON document; `source` is what messages call it.

    `hook` makes an object from its keys and values. Raises RequestError.
    """
    try:
        return json.loads(content, object_pairs_hook=hook)
    except json.JSONDecodeError as error:
        fault = f"is not JSON (line {error.lineno}, column {error.colno})"
    except UnicodeDecodeError:
        fault = "is not JSON: it is not text in UTF-8"
    except RecursionError:
        fault = "is not JSON that can be read: its lists and objects are nested too deeply"
    except ValueError:  # Python's limit, see sys.set_int_max_str_digits
        fault = "is not JSON that can be read: a number in it has too many digits"
    raise RequestError(Message(source, f" {fault}"))
