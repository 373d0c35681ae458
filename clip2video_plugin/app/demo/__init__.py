"""``c2v demo``: generated videos, a database and an App server of its own."""

from clip2video_plugin.app.demo.demo import BRAIN_KEY, NAME, Ranking, default_folder, listen, open_app, run_demo

__all__ = ["BRAIN_KEY", "NAME", "Ranking", "default_folder", "listen", "open_app", "run_demo"]
