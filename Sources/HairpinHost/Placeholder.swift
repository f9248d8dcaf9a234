// Replaced by the module's map.
