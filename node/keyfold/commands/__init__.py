"""One module per command: `register` adds its arguments, sets `run` (arguments, context → reply) and `render`."""
