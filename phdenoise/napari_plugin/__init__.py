"""The plugin for napari (extra `napari`): readers of our files, a widget that denoises, a widget that fits a law."""
