"""Objects of Google and Azure: the first from a small stand-in; of the second what its client is given."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pyarrow import fs

from clip2video_plugin import stores
from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.places import place_of
from clip2video_plugin.stores import clouds
from clip2video_plugin.video.frames import read_frames

from ..video.clips import write

SETTINGS = ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST", *clouds.ACCOUNT)


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    for name in (*SETTINGS, "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_an_object_of_google_is_read_as_its_file_is(tmp_path, monkeypatch):
    file = write(tmp_path / "clip.mp4")
    command = [sys.executable, Path(__file__).with_name("fake_gcs.py"), file]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.stdout.readline().strip()}")
            uri = place_of("gs://b/k.mp4")
            np.testing.assert_array_equal(read_frames(uri, size=32).pixels, read_frames(file, size=32).pixels)
            assert stores.stamp(uri) == (file.stat().st_size, 1795860000.0)
            assert list(stores.walk(place_of("gs://b"))) == [(uri, stores.stamp(uri))]
            with pytest.raises(VideoReadError, match="there is no such object"):
                read_frames("gs://b/none.mp4")
        finally:
            server.kill()


def test_azure_gets_account_and_key_of_the_environment_or_the_name(monkeypatch):
    given = []
    monkeypatch.setattr(fs, "AzureFileSystem", lambda account, **more: given.append((account, more)))
    with pytest.raises(VideoReadError, match="the storage account is not named; set AZURE_STORAGE_ACCOUNT_NAME"):
        stores.stamp(place_of("az://container/a.mp4"))
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "mine")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sig=abc")
    clouds.store_of(place_of("az://container/a.mp4"))
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    clouds.store_of(place_of("az://container@other/a.mp4"))
    assert given == [
        ("mine", {"account_key": None, "sas_token": "sig=abc"}),
        ("other", {"account_key": "c2VjcmV0", "sas_token": None}),
    ]
    assert clouds.key_of(place_of("az://container@other/a/b.mp4")) == "container/a/b.mp4"
