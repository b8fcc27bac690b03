"""What the stories in Python share: where the region is, and checks that say what they looked at."""

import json
import os

from azure.core.exceptions import HttpResponseError

with open(os.environ["BLEU_READY"], encoding="utf-8") as file:
    READY = json.load(file)
MANAGEMENT = READY["management"]
SUBSCRIPTION = READY["subscription"]
LOCATION = READY["location"]


def check(what, expected, actual):
    if expected != actual:
        raise AssertionError(f"{what}: expected {expected!r}, found {actual!r}")
    print(f"ok: {what}", flush=True)


def raises(what, kind, call):
    """`call` must raise an error of this kind; gives it back."""
    try:
        call()
    except kind as error:
        print(f"ok: {what}", flush=True)
        return error
    raise AssertionError(f"{what}: nothing was raised")


def refused(what, code, call):
    """`call` must raise the service's own error with this code; gives it back."""
    try:
        call()
    except HttpResponseError as error:
        found = getattr(error, "error_code", None) or getattr(error.error, "code", None)
        check(what, code, getattr(found, "value", found))
        return error
    raise AssertionError(f"{what}: was not refused")
