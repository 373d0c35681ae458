"""Places of videos: paths and URIs, what they are called, and that credentials are not in their names."""

import pickle

import numpy as np
import pytest

from clip2video_plugin import stores
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.places import Uri, has_credentials, place_of
from clip2video_plugin.video.frames import read_frames


def test_an_object_is_read_as_its_file_is(s3, world):
    file = sorted(world[0].glob("*.mp4"))[0]
    uri = place_of(s3.put("a b/ü#1.mp4", file))
    assert stores.stamp(uri)[0] == file.stat().st_size
    assert [place for place, _ in stores.walk(place_of(s3.uri("a b")))] == [uri]
    np.testing.assert_array_equal(read_frames(uri, size=64).pixels, read_frames(file, size=64).pixels)


def test_credentials_of_an_address_are_not_in_its_name():
    uri = place_of("https://me:pw@host/v%20a.mp4?X-Amz-Signature=abc&id=4")
    assert str(uri) == "https://host/v%20a.mp4?id=4"
    assert "abc" not in repr(uri)
    assert uri == Uri("https://host/v%20a.mp4?id=4")
    assert pickle.loads(pickle.dumps(uri)).secret == uri.secret
    assert (uri.name, uri.suffix) == ("v a.mp4", ".mp4")
    assert not has_credentials("http://host?of=a@b")


@pytest.mark.parametrize(
    "name",
    [
        "ftp://host/a.mp4",
        "s3://",
        "https:///",
        "http:///a.mp4",
        "http://?@",
        "http://:80:80",
        "http://h:0/a",
        "http://h:x/a",
    ],
)
def test_what_names_no_object_is_refused(name):
    with pytest.raises(Clip2VideoError, match="://"):
        place_of(name)
