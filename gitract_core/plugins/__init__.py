"""Executes plugins, and checks what they define before anything trains.

A plugin is executed only if the user names its file in the command, or in the call, that needs it:
nothing that is read from a run or a bundle is ever executed. Worker processes get the content of
the driver's plugins with a trial's data, and execute the trial's once.
"""

from gitract_core.plugins.executing import execute_of, foreign_names, load_plugins, plugin_of

__all__ = ["execute_of", "foreign_names", "load_plugins", "plugin_of"]
