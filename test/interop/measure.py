"""Runs a command; its last line on standard output is the time and memory that the command took, as JSON.

    python measure.py COMMAND ARGUMENT…
"""
import json, resource, subprocess, sys, time

start = time.perf_counter()
status = subprocess.run(sys.argv[1:]).returncode
seconds = time.perf_counter() - start
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print("\n" + json.dumps({"seconds": seconds, "cpuSeconds": usage.ru_utime + usage.ru_stime, "peakRssBytes": peak}))
sys.exit(status)
