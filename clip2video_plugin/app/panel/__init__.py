"""The Video search panel."""

from clip2video_plugin.app.panel.panel import PANELS, VideoSearchPanel
from clip2video_plugin.app.panel.selected import selected_video

__all__ = ["PANELS", "VideoSearchPanel", "selected_video"]
