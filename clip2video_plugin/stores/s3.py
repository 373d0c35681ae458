"""Objects in S3 and in stores that speak it, through boto3: keys are exact, and a range is of one version."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from clip2video_plugin.errors import VideoGoneError, VideoReadError
from clip2video_plugin.places import Uri
from clip2video_plugin.stores.version import CHANGED, Answer, Passing, Version

CONNECT, STANDSTILL = 4, 20  # seconds without a connection, and without a byte
BODY = 1024 * 1024  # bytes that are taken from a connection at once
T = TypeVar("T")

_clients = dict[tuple[object, ...], Any]()
_making = threading.Lock()
os.register_at_fork(after_in_child=_clients.clear)  # connections of a process are not those of another


def endpoint() -> str | None:
    """The address of S3 that the environment names; None for Amazon's."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def region() -> str | None:
    """The region of buckets that the environment names."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


def keys_of(uri: Uri) -> str:
    """The credentials that a URI came with, NAME:KEY with escapes, or nothing."""
    return (uri.secret or "").partition("://")[2].partition("/")[0].rpartition("@")[0]


def client(uri: Uri) -> Any:
    """The client of this process for a URI, with its credentials or those of the environment, or none."""
    with_keys, at, of = keys_of(uri), endpoint(), region()
    name, _, key = with_keys.partition(":")
    known = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")
    which = (os.getpid(), with_keys, at, of, *map(os.environ.get, known))
    with _making:
        if which not in _clients:
            import boto3
            from botocore import UNSIGNED
            from botocore.config import Config

            session = boto3.Session(unquote(name) or None, unquote(key) or None)
            config = Config(
                connect_timeout=CONNECT,
                read_timeout=STANDSTILL,
                retries={"mode": "standard", "total_max_attempts": 2},
                max_pool_connections=32,
                s3={"addressing_style": "path"} if at else {},
                signature_version="s3v4" if session.get_credentials() else UNSIGNED,
            )
            _clients[which] = session.client("s3", endpoint_url=at, region_name=of, config=config)
        return _clients[which]


class S3Object:
    """One object."""

    def __init__(self, uri: Uri) -> None:
        self.uri = uri
        self._where = where(uri)

    def look(self) -> Version:
        from botocore.exceptions import ClientError

        def head() -> Version:
            try:
                said = client(self.uri).head_object(**self._where)
            except ClientError as error:
                if error.response["Error"]["Code"] in ("404", "403", "400"):  # of these a body says more
                    return self.read(0, 1, None).version
                raise
            return Version(said["ContentLength"], _seconds(said), said.get("ETag", ""))

        return told(self.uri, head)

    def read(self, start: int, end: int, version: Version | None) -> Answer:
        same = {"IfMatch": version.tag} if version and version.tag else {}
        try:
            said = told(
                self.uri,
                lambda: client(self.uri).get_object(**self._where, Range=f"bytes={start}-{end - 1}", **same),
            )
        except _Empty:
            return Answer(Version(0, 0.0), 0, iter(()), whole=True)
        size = int(said["ContentRange"].rpartition("/")[2]) if "ContentRange" in said else said["ContentLength"]
        first = start if "ContentRange" in said else 0
        return Answer(Version(size, _seconds(said), said.get("ETag", "")), first, self._body(said["Body"]))

    def _body(self, body: Any) -> Iterator[bytes]:
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        try:
            with body:
                while some := body.read(BODY):
                    yield some
        except (BotoCoreError, HTTPError, OSError):
            raise Passing("its connection broke off again and again; try again later") from None


class _Empty(Exception):
    """It has no byte."""


def where(uri: Uri) -> dict[str, str]:
    """Bucket and key, as the API names them."""
    bucket, _, key = uri.text.partition("://")[2].partition("/")
    return {"Bucket": bucket, "Key": key}


def walk(uri: Uri) -> Iterator[tuple[Uri, Version]]:
    """The objects whose keys begin with that of a URI and ``/``, by key; of a bucket, all."""
    place = where(uri)
    prefix = f"{place['Key'].rstrip('/')}/" if place["Key"] else ""
    pages = client(uri).get_paginator("list_objects_v2").paginate(Bucket=place["Bucket"], Prefix=prefix)
    keys = keys_of(uri)
    following = iter(pages)
    while (page := told(uri, lambda: next(following, None))) is not None:
        for found in page.get("Contents", ()):
            if not found["Key"].endswith("/"):
                text = f"s3://{place['Bucket']}/{found['Key']}"
                secret = text.replace("://", f"://{keys}@", 1) if keys else None
                yield Uri(text, secret), Version(found["Size"], _seconds(found), found.get("ETag", ""))


def presigned(uri: Uri, seconds: int, kind: str | None = None) -> str:
    """An address by which whoever has it may read the object for some time, as of this type of content."""
    asked = where(uri) | ({"ResponseContentType": kind} if kind else {})
    return str(told(uri, lambda: client(uri).generate_presigned_url("get_object", Params=asked, ExpiresIn=seconds)))


def _seconds(said: dict[str, Any]) -> float:
    """When it changed, in whole seconds: some stores say more in listings than of an object."""
    return float(int(said["LastModified"].timestamp())) if "LastModified" in said else 0.0


def told(uri: Uri, ask: Callable[[], T]) -> T:
    """The answer to a request.

    Raises:
        VideoReadError: there is none; it says why, in words for users. Passing: another attempt may get one.
    """
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectTimeoutError,
        EndpointConnectionError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
        ProfileNotFound,
    )

    bucket = where(uri)["Bucket"]
    try:
        return ask()
    except ClientError as error:
        said, answer = error.response["Error"], error.response.get("ResponseMetadata", {})
        raise _refusal(uri, str(said.get("Code", "")), answer) from None
    except (EndpointConnectionError, ConnectTimeoutError):
        at = urlsplit(endpoint() or "https://s3.amazonaws.com").netloc.rpartition("@")[2]
        reason = f"no answer from {at}; check the network, and AWS_ENDPOINT_URL where it is not at Amazon"
    except ParamValidationError:
        reason = f"{bucket!r} and its key are no names of a bucket and an object; write s3://bucket/key"
    except (NoCredentialsError, PartialCredentialsError):
        reason = "its credentials are incomplete; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    except ProfileNotFound:
        reason = f"there is no profile {os.environ.get('AWS_PROFILE', '')!r}; set AWS_PROFILE to one that ~/.aws has"
    except BotoCoreError as error:
        raise Passing(f"the connection to its store failed ({type(error).__name__}); try again later") from None
    except ValueError:  # botocore's, of an endpoint that is no address
        reason = f"AWS_ENDPOINT_URL is {(endpoint() or '').rpartition('@')[2]!r}; write it as https://host:port"
    raise VideoReadError(uri, reason)


def _refusal(uri: Uri, code: str, answer: dict[str, Any]) -> Exception:
    """The error for what a store answered."""
    from botocore import UNSIGNED

    bucket, status = where(uri)["Bucket"], answer.get("HTTPStatusCode", 0)
    lies = answer.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    if code == "NoSuchBucket":
        reason = f"there is no bucket {bucket!r}; check its name, and AWS_ENDPOINT_URL where it is not at Amazon"
    elif code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AuthFailure"):
        reason = f"the credentials are not accepted ({code}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY anew"
    elif code == "RequestTimeTooSkewed":
        reason = "the clock of this machine is wrong; set it"
    elif code == "InvalidObjectState":
        reason = "it is archived; restore it first"
    elif code in ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"):
        reason = f"bucket {bucket!r} lies in another region; set AWS_REGION={lies or 'to it'}"
    elif code in ("PreconditionFailed", "412"):
        reason = CHANGED
    elif code in ("InvalidRange", "416"):
        return _Empty()
    elif code in ("NoSuchKey", "NoSuchVersion") or status == 404:
        return VideoGoneError(uri, "there is no such object; check its name, letter by letter")
    elif code in ("AccessDenied", "AllAccessDisabled") or status in (401, 403):
        reason = "access is denied: the credentials given do not allow to read it, or not to list its bucket"
        if client(uri).meta.config.signature_version is UNSIGNED:
            how = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            reason = f"access is denied: it is not public, and no credentials were found; {how}"
    elif status >= 500 or code in ("SlowDown", "Throttling", "RequestTimeout"):
        return Passing(f"its store is busy or broken ({code or status}); try again later")
    else:
        reason = f"its store answers {code or status}; look at it with: aws s3api head-object"
    return VideoReadError(uri, reason)
