"""Stories as a dataset, with their windows in its run."""

import fiftyone as fo

from clip2video_plugin import compute_clip2video


def write_all(stories, folder):
    """Writes stories as 0.mp4, 1.mp4 ... to a folder."""
    folder.mkdir()
    for n, story in enumerate(stories):
        story.write(folder / f"{n}.mp4")


def dataset_of(folder, model, index, name=None):
    """A dataset of the files of a folder, and its run ``c2v`` with windows."""
    dataset = fo.Dataset.from_videos_dir(str(folder), name=name)
    compute_clip2video(dataset, model=model, brain_key="c2v", index=index, windows="auto", progress=False)
    return dataset
