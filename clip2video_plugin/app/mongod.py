"""Where ``demo.mongod`` was before."""

from clip2video_plugin.app.demo.mongod import find_mongod, start_mongod, use_own_database

__all__ = ["find_mongod", "start_mongod", "use_own_database"]
