"""FiftyOne imported with a database of its own, once for all forks: importing it wants one."""

import os
from pathlib import Path

if "FIFTYONE_DATABASE_URI" not in os.environ:
    from clip2video_plugin.app.demo.mongod import use_own_database

    use_own_database(Path(os.environ["HOME"]))

import clip2video_plugin.app.plugin  # noqa: F401
