"""What LanceDB's errors say of stores, in words: the cause, and not the Rust around it."""

from __future__ import annotations

import os
import re

from clip2video_plugin.errors import first_line, is_panic

# In what it says of a request that failed; "{}" is the group.
KNOWN = (
    (r"CredentialsNotLoaded", "no credentials for the store; for S3 set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    (r"BadScheme", "the store's address is http://, which is not secure; to allow it set AWS_ALLOW_HTTP=true"),
    (r"dns error.*?message: \"([^\"]+)", "the store's address is unknown ({}); is the region or the endpoint right?"),
    (r"ConnectError\([^)]*?, ([\w.:\[\]]+), Os .*?message: \"([^\"]+)", "the store at {} cannot be reached ({})"),
    (r"status: (\d+), body: None", "the store answered {}; may this user read and write there?"),
    (r"No space left on device", "no space left on its disk; make room, and run it again"),
    (r"Read-only file system", "its disk is read-only"),
    (r"kind: Timeout", "the store does not answer in time"),
    (r"dynamodb\.rs", "DynamoDB, which s3+ddb:// needs, cannot be used; is the table of ddbTableName there?"),
)
SECRET = re.compile("KEY|SECRET|TOKEN|PASSWORD|SIGNATURE|CREDENTIAL|CONNECTION_STRING")


def cause(error: BaseException) -> str:
    """Why it failed, in one line without credentials."""
    if is_panic(error):
        return f"a file of it is damaged, so that LanceDB broke off ({first_line(error)}); restore it, or embed anew"
    text = str(error).replace('\\"', '"')
    said = _answer(text)
    for pattern, words in KNOWN if not said else ():
        if found := re.search(pattern, text, re.DOTALL):
            said = words.format(*found.groups())
            break
    return _without_secrets(said or first_line(Exception(_without_places(text))))


def _answer(text: str) -> str:
    """What a store answered: XML of S3 and Azure, JSON of Google."""
    code, message = (re.search(f"<{tag}>([^<]*)</{tag}>", text) for tag in ("Code", "Message"))
    if code:
        return f"{message[1].strip()} ({code[1]})" if message else code[1]
    found = re.search(r'"error":\s*\{.*?"message":\s*"([^"]+)"', text, re.DOTALL)
    return found[1] if found else ""


def _without_places(text: str) -> str:
    """Without lines of Rust's sources."""
    text = re.sub(r",? location: Location \{[^}]*\}|,? backtrace: \w+", "", text)
    return re.sub(r",? /\S*/(?:lance|lancedb)[\w.-]*/\S+\.rs:\d+:\d+", "", text)


def _without_secrets(text: str) -> str:
    for name, value in os.environ.items():
        if SECRET.search(name.upper()) and len(value) > 5 and not os.path.isabs(value):
            text = text.replace(value, f"${name}")
    return text
