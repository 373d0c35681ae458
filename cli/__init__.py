"""The command ``c2v``: parse, call, print. No logic lives here, and nothing heavy is imported before it is needed."""
