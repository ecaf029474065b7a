"""An edit's passport: everything that one edit changes, beside other edits of the same fact."""
