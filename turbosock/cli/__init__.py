"""The `turbosock` command: `get` fetches one URL, `demo` shows the engine at work; both only use the library."""
