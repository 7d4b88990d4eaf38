"""One file, one lightweight component, one call of `yololine.steps`."""
