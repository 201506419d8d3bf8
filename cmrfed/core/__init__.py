"""What every room stands on and what knows none of them: files that appear whole, logs in JSON lines, progress."""
