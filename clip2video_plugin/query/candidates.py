"""Which videos may share frames, out of many: by hashes of thumbnails, so that not every pair is compared.

The bits of a key say on which side of random planes a frame lies: frames of cosine c differ in each with probability
acos(c) / pi. A pair is a candidate once two of their frames have one of several keys in common. Memory grows with the
number of frames, time faster and far slower than with its square: the longer a key, the fewer strangers share it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.query.tracks import BLOCK, LEAST, SEED, Tracks, centred, flipped
from clip2video_plugin.video.thumbnails import NUMBERS, SIDE

TABLES = 12  # keys of a frame
# Bits of a key: so many for each that it takes to number the frames, less so many; at least. In a small library
# strangers may meet, in a large one they must not: with 32 bits still 97 % of copies at crf 40 do, and all others.
BITS, LESS, FEWEST = 2.2, 8, 10
MET = 2  # keys that a pair has in common
REST = 6.0  # grey levels by which two frames differ that may be of copies, a little apart in time
BEYOND = 4  # videos that each is compared with among those of one key: copies of it are linked in a chain
USUAL = 16  # frames of a video that has no windows, at most


def candidates(tracks: Tracks, *, mirrored: bool = False) -> NDArray[np.int64]:
    """Pairs [P, 2] of numbers of videos, the smaller first, that may share frames; or frames and mirrored ones."""
    keys, owners, other = _keys(tracks, mirrored)
    count, found = len(tracks), list[NDArray[np.int64]]()
    for column in keys:
        order = np.lexsort((owners, column))
        key, video, flip = column[order], owners[order], other[order]
        new = np.r_[True, (np.diff(key) != 0) | (np.diff(video) != 0) | (np.diff(flip) != 0)][: len(order)]
        key, video, flip = key[new], video[new], flip[new]  # a video once, however many of its frames
        for step in range(1, BEYOND + 1):
            same = (key[step:] == key[:-step]) & (video[step:] != video[:-step])
            if mirrored:
                same &= flip[step:] != flip[:-step]
            a, b = video[step:][same], video[:-step][same]
            found.append(np.minimum(a, b) * count + np.maximum(a, b))
    pairs, met = np.unique(np.concatenate(found), return_counts=True)
    pairs = pairs[met >= MET]
    pairs = np.stack([pairs // max(count, 1), pairs % max(count, 1)], axis=1)
    return pairs[_likely(tracks, pairs, mirrored)]


def _likely(tracks: Tracks, pairs: NDArray[np.int64], mirrored: bool) -> NDArray[np.bool_]:
    """Of which pairs enough frames of either video have one in the other that is like them."""
    likely, lengths = np.ones(len(pairs), np.bool_), np.diff(tracks.first)
    short = np.flatnonzero((lengths[pairs] <= USUAL).all(axis=1))  # those with windows are left to the comparison
    within = np.arange(USUAL)
    for start in range(0, len(short), BLOCK // 10):
        rows = short[start : start + BLOCK // 10]
        sides, norms = list[NDArray[np.float32]](), list[NDArray[np.float32]]()
        for side in (0, 1):
            videos = pairs[rows, side]
            at = np.minimum(tracks.first[videos, None] + within, tracks.first[videos + 1, None] - 1)
            frames = centred(tracks.grey[at.reshape(-1)])
            frames = flipped(frames) if mirrored and side else frames
            length = np.linalg.norm(frames, axis=1, keepdims=True)
            frames = (frames / np.maximum(length, 1e-6)).reshape(len(rows), USUAL, NUMBERS)
            sides.append(np.where((within < lengths[videos, None])[..., None], frames, 0))
            norms.append(length.reshape(len(rows), USUAL))
        cosines = sides[0] @ sides[1].swapaxes(1, 2)
        rest = np.sqrt(np.maximum(1 - cosines**2, 0)) * np.minimum(norms[0][:, :, None], norms[1][:, None])
        alike = (cosines > SEED) & (rest < REST * SIDE)
        likely[rows] = np.minimum(alike.any(axis=1).sum(axis=1), alike.any(axis=2).sum(axis=1)) >= LEAST
    return likely


def _keys(tracks: Tracks, mirrored: bool) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Keys [TABLES, K] of the frames that are not blank, whose video each is, and whether it was turned over."""
    bits = min(max(math.ceil(BITS * math.log2(len(tracks.grey) + 2)) - LESS, FEWEST), 60)
    planes = np.random.default_rng(0).standard_normal((NUMBERS, TABLES * bits)).astype(np.float32)
    usual = _usual(tracks)
    powers = (1 << np.arange(bits)).astype(np.int64)
    keys, owners, other = list[NDArray[np.int64]](), list[NDArray[np.int64]](), list[NDArray[np.bool_]]()
    for start in range(0, len(tracks.grey), BLOCK):
        frames = centred(tracks.grey[start : start + BLOCK])
        norms = np.linalg.norm(frames, axis=1)
        mine = tracks.owners[start : start + BLOCK][norms > 0]
        frames = frames[norms > 0] / norms[norms > 0, None]
        for turned in (False, True) if mirrored else (False,):
            sides = ((flipped(frames) if turned else frames) - usual) @ planes > 0
            keys.append(sides.reshape(-1, TABLES, bits) @ powers)
            owners.append(mine)
            other.append(np.full(len(mine), turned))
    if not keys:
        return np.zeros((TABLES, 0), np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_)
    return np.concatenate(keys).T, np.concatenate(owners), np.concatenate(other)


def _usual(tracks: Tracks) -> NDArray[np.float32]:
    """What frames have in common, as a bright sky: the mean of some, the same from left and right [64]."""
    some = centred(tracks.grey[:: max(len(tracks.grey) // 10_000, 1)])
    norms = np.linalg.norm(some, axis=1)
    if not norms.any():
        return np.zeros(NUMBERS, np.float32)
    mean = (some[norms > 0] / norms[norms > 0, None]).mean(axis=0)
    return np.asarray((mean + flipped(mean[None])[0]) / 2, np.float32)
