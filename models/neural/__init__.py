"""Neural voices: networks of a few MB, trained with `tools/recipes/voices` and by `altervox voices train`."""
