"""What huggingface_hub makes of a cache: `hub_cache.py CACHE fetch|find|check` prints a snapshot or what is wrong."""

import sys

import huggingface_hub

cache, task = sys.argv[1:]
if task == "check":
    info = huggingface_hub.scan_cache_dir(cache)
    print([str(warning) for warning in info.warnings])
else:
    print(huggingface_hub.snapshot_download("org/name", cache_dir=cache, local_files_only=task == "find"))
