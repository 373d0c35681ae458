"""Sentences are encoded once, whoever asks, and their vectors are the model's."""

from dataclasses import replace

import numpy as np
import pytest

from clip2video_plugin.app import sentences
from clip2video_plugin.app.sentences import vectors_of

TEXTS = ["a red square moves left", "a blue star turns", "a red square moves left"]


@pytest.fixture(autouse=True)
def _forgotten():
    sentences._known.clear()
    yield
    sentences._known.clear()


def counting(model, monkeypatch):
    """What is encoded from here on, a list a call."""
    asked, encode = [], type(model).encode_captions
    monkeypatch.setattr(
        type(model), "encode_captions", lambda self, texts: asked.append(list(texts)) or encode(self, texts)
    )
    return asked


def test_vectors_are_the_models_and_each_sentence_is_encoded_once(model, monkeypatch):
    own = model.encode_captions(TEXTS).vector.numpy()
    asked = counting(model, monkeypatch)
    np.testing.assert_allclose(vectors_of(TEXTS, model), own, atol=1e-6)
    np.testing.assert_allclose(vectors_of([*TEXTS, "a green ring grows"], model)[:3], own, atol=1e-6)
    assert asked == [TEXTS[:2], ["a green ring grows"]]


def test_another_models_vectors_are_others(model, monkeypatch):
    asked = counting(model, monkeypatch)
    vectors_of(TEXTS[:1], model)
    vectors_of(TEXTS[:1], replace(model, sha256="0" * 64))
    assert asked == [TEXTS[:1], TEXTS[:1]]


def test_those_that_were_longest_not_asked_for_are_forgotten(model, monkeypatch):
    monkeypatch.setattr(sentences, "KEPT", 2)
    vectors_of(TEXTS, model)
    vectors_of(["a green ring grows"], model)
    assert [text for *_, text in sentences._known] == [TEXTS[0], "a green ring grows"]  # it was asked for last
