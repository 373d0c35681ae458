"""Stories as a dataset, with the windows of each beside the vectors of its run."""

from pathlib import Path

import fiftyone as fo

from clip2video_plugin import compute_clip2video
from clip2video_plugin.video.files import file_stamp
from clip2video_plugin.video.windows import parse_windows

SIZES = parse_windows("2/0.5,4/1,8/2")


def dataset_of(stories, folder, model, index, name=None):
    """A dataset of the files 0.mp4, 1.mp4 ... of a folder, which are these stories, and its run ``c2v``."""
    dataset = fo.Dataset.from_videos_dir(str(folder), name=name)
    run = compute_clip2video(dataset, model=model, brain_key="c2v", index=index, progress=False)
    rows = []
    for one, path in zip(*dataset.values(["id", "filepath"]), strict=True):
        windows = stories[int(Path(path).stem)].windows(model, SIZES)
        (size, mtime), duration = file_stamp(Path(path)), windows.spans.max()
        for (start, end), vector in zip(windows.spans.tolist(), windows.vectors, strict=True):
            where = {"id": f"{one}/{start:.3f}-{end:.3f}", "video": one, "path": path, "start": start, "end": end}
            rows.append({**where, "duration": duration, "size": size, "mtime": mtime, "vector": vector})
    run.table.create_windows().write(rows)
    return dataset
