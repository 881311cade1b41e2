"""Ray's settings: made before Ray is imported, so every module here imports this first."""

import os

# Nothing leaves the machine unless the user turns usage statistics on; read when Ray is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
if os.environ["RAY_USAGE_STATS_ENABLED"] == "0":
    os.environ.setdefault("RAY_USAGE_STATS_REPORT_URL", "http://127.0.0.1:9/")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C is the sweep's to handle
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # trials are the work, not the background
