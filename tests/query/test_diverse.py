"""Hits that differ: maximal marginal relevance, against a plain reading of its formula."""

import numpy as np
import pytest

from clip2video_plugin import Query, open_index, search
from clip2video_plugin.shapes import caption


def marginal(scores, vectors, k, diversity):
    """Places of the k hits, by the formula: every value anew for every choice."""
    centred = [v - vectors.mean(axis=0) for v in vectors]
    unit = [v / np.linalg.norm(v) for v in centred]
    relevance = [(s - min(scores)) / (max(scores) - min(scores)) for s in scores]
    chosen = []
    while len(chosen) < k:

        def worth(i):
            like = max(((1 + unit[i] @ unit[j]) / 2 for j in chosen), default=0.0)
            return (1 - diversity) * relevance[i] - diversity * like

        chosen.append(max((i for i in range(len(scores)) if i not in chosen), key=worth))
    return chosen


@pytest.mark.parametrize("diversity", [0.2, 0.5, 1.0])
def test_hits_are_chosen_by_maximal_marginal_relevance(world, world_index, model, diversity):
    text = caption(world[1][3])
    every = search(text, index=world_index, model=model, k=24)
    vectors = open_index(world_index).vectors([hit.id for hit in every])
    rows = np.stack([vectors[hit.id] for hit in every]).astype(np.float64)
    expected = marginal([hit.score for hit in every], rows, 8, diversity)
    found = search(Query((text,), k=8, diversity=diversity), index=world_index, model=model)
    assert [hit.id for hit in found] == [every[i].id for i in expected]
    assert [hit.rank for hit in found] == list(range(1, 9))
    assert found[0].id == every[0].id
    scores = {hit.id: hit.score for hit in every}
    assert all(hit.score == pytest.approx(scores[hit.id]) for hit in found)


def test_the_more_diverse_the_less_alike(world, world_index, model):
    def alike(diversity):
        found = search(Query((caption(world[1][3]),), k=6, diversity=diversity), index=world_index, model=model)
        rows = np.stack(list(open_index(world_index).vectors([hit.id for hit in found]).values()))
        return (rows @ rows.T)[np.triu_indices(6, 1)].mean()

    assert alike(0.0) > alike(0.5) > alike(1.0)


def test_more_hits_than_videos_are_all_of_them(world, world_index, model):
    found = search(Query((caption(world[1][0]),), k=100, diversity=0.5), index=world_index, model=model)
    assert len({hit.id for hit in found}) == len(found) == 24
