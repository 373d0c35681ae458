"""A world of moving shapes with captions: training data, demo and tests that need no download."""

from clip2video_plugin.shapes.captions import caption, captions
from clip2video_plugin.shapes.render import render
from clip2video_plugin.shapes.scene import ACTIONS, COLOURS, HELD_OUT, INVERSE, SHAPES, Scene, held_out_scenes, scenes
from clip2video_plugin.shapes.videos import write_video, write_videos

__all__ = [
    "ACTIONS",
    "COLOURS",
    "HELD_OUT",
    "INVERSE",
    "SHAPES",
    "Scene",
    "caption",
    "captions",
    "held_out_scenes",
    "render",
    "scenes",
    "write_video",
    "write_videos",
]
