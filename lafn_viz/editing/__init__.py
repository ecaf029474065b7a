"""Edit facts: optimise an edit, cache it, and apply it where a text names its subject.

`optimise` makes an edit, with `forward` (the forward pass of an edited model) and `loss` (the loss
and its search); `edit` is its value, `many` makes many of them. `cache` keeps edits and `applied`
applies them. `retrieval` finds subjects by their names, `relation_matcher` which of their relations
a text asks for, and `activation_matcher` facts by their neurons alone. `baselines` has the compared
editors, `evaluation` measures them.
"""
