"""``python -m clip2video_plugin.cli``."""

from clip2video_plugin.cli.main import main

main()
