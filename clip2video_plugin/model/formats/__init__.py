"""The forms in which weights are published: a recogniser and a key map each, in a file of its own."""
