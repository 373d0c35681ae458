"""Samples whose videos lie in a store or on a server: embedded, searched, marked, and played in the panel."""

import json

import fiftyone as fo
import fiftyone.core.odm as foo
import numpy as np
import pytest

from clip2video_plugin import compute_clip2video
from clip2video_plugin.app import playing
from clip2video_plugin.app.marking import mark
from clip2video_plugin.app.metadata import compute_video_metadata
from clip2video_plugin.app.moments import compute_frames, timeline
from clip2video_plugin.app.roots import confined_query
from clip2video_plugin.app.search import find, load_run
from clip2video_plugin.app.tables import thumbnails_of
from clip2video_plugin.app.videos import add_uris
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.index import Span
from clip2video_plugin.query import Query
from clip2video_plugin.shapes import caption
from clip2video_plugin.video.facts import video_facts

from ..objectstore import KEYS
from ..standin import StandIn
from .browser import HIT, MARKS, PANEL, QUERY, app_page, open_panel, plugin_server, shoot, start_over


@pytest.fixture
def remote(s3, world, model, tmp_path):
    """A dataset of three videos in S3 and three on a web server, indexed; and their files."""
    files = sorted(world[0].glob("*.mp4"))[:6]
    server = StandIn()
    uris = [s3.put(f"a b/ü#{file.name}", file) for file in files[:3]]
    uris += [server.put(f"/{file.name}", file.read_bytes(), says={"Content-Type": "video/mp4"}) for file in files[3:]]
    dataset = fo.Dataset(persistent=True)
    given = [uri.replace("://", "://me:pa55word@") if uri.startswith("http") else uri for uri in uris]
    ids = add_uris(dataset, given)
    assert dataset.values("filepath") == uris
    compute_clip2video(dataset, model=model, brain_key="c2v", index=tmp_path / "index", progress=False)
    yield dataset, ids, files
    dataset.delete_brain_run("c2v")
    dataset.delete()
    server.close()


def everything_stored():
    """All that MongoDB holds."""
    database = foo.get_db_conn()
    return json.dumps([list(database[name].find()) for name in database.list_collection_names()], default=str)


def test_they_are_as_their_files_are(remote, model, world, tmp_path):
    dataset, ids, files = remote
    run = load_run(dataset, "c2v")
    local = fo.Dataset()
    mine = local.add_samples([fo.Sample(filepath=str(file)) for file in files])
    compute_clip2video(local, model=model, brain_key="c2v", index=tmp_path / "local", progress=False)
    vectors, found, _ = run.get_embeddings(ids)
    expected, same, _ = load_run(local, "c2v").get_embeddings(mine)
    order = [list(found).index(one) for one in ids], [list(same).index(one) for one in mine]
    np.testing.assert_allclose(vectors[order[0]], expected[order[1]], atol=1e-6)
    hits = find(dataset, caption(world[1][0]), brain_key="c2v", k=6)
    assert len(hits.ids) == 6
    assert not hits.missing
    compute_video_metadata(dataset)
    for sample, file in zip(dataset, files, strict=True):
        assert sample.metadata.duration == video_facts(file)["duration"]
        assert sample.metadata.size_bytes == file.stat().st_size
    assert compute_frames(run, dataset.select(ids[0])) > 0
    assert timeline(run, dataset[ids[0]], caption(world[1][0])) is not None
    dataset.clear_sample_field("metadata")
    marked = mark(dataset, run, "a shape", {ids[1]: [Span(0.5, 1.5, 0.5)], ids[4]: [Span(0, 1, 0.5)]})
    assert len(marked) == 2
    assert len(list(thumbnails_of(run.config).glob("*.jpg"))) == 2
    local.delete()


def test_a_query_reads_no_object_that_is_not_of_the_dataset(remote):
    dataset, _, _ = remote
    own = dataset.first().filepath
    for text in (own, f"{own}@0.5-1"):
        assert confined_query(Query(like=(text,)), dataset).like == (text,)
    for text in ("s3://other/secret.mp4", "https://169.254.169.254/latest", f"{own}x"):
        with pytest.raises(Clip2VideoError, match="no video of this dataset"):
            confined_query(Query(like=(text,)), dataset)


def test_what_cannot_be_played_says_why(monkeypatch):
    assert playing.playable("/a/b.mp4") == ("/a/b.mp4", None)
    assert playing.playable("https://host/b.mp4") == ("https://host/b.mp4", None)
    assert "a key with . or .." in playing.playable("s3://bucket/a/../b.mp4")[1]
    for name in ("gs://bucket/b.mp4", "az://container/b.mp4"):
        media, why = playing.playable(name)
        assert media is None
        assert "the browser cannot play" in why
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    media, why = playing.playable("s3://bucket/b.mp4")
    assert media is None
    assert "there is no profile 'nobody'" in why


class TestInTheBrowser:
    pytestmark = MARKS

    def test_hits_play_and_no_signature_is_kept(self, remote, world, tmp_path_factory):
        dataset, _, _ = remote
        with plugin_server(dataset, tmp_path_factory) as address, app_page(address, dataset) as (page, orders):
            start_over(page, orders, dataset, panel="video_search")
            open_panel(page)
            page.fill(QUERY, caption(world[1][0]))
            page.press(QUERY, "Enter")
            page.wait_for_function(
                f"""() => {{ const all = [...document.querySelectorAll('{HIT} video')];
                return all.length === 6 && all.every(v => v.readyState >= 1 && v.duration > 0); }}""",
                timeout=60_000,
            )
            names = page.locator(f"{PANEL} {HIT}").all_inner_texts()
            sources = page.locator(f"{HIT} video").evaluate_all("all => all.map(v => v.src)")
            page.locator(f"{HIT} video").first.hover()
            page.wait_for_function(f"() => document.querySelector('{HIT} video').currentTime > 0.2", timeout=60_000)
            shoot(page, "panel-stores")
        assert sum("Signature=" in source for source in sources) == 3
        assert all(any(name in text for text in names) for name in ("ü#", ".mp4"))
        stored = everything_stored()
        assert "s3://" in stored
        for secret in ("Signature=", KEYS["AWS_SECRET_ACCESS_KEY"], "pa55word"):
            assert secret not in stored
