"""Edit facts: optimise an edit, cache it, and apply it where a text names its subject.

`optimise` makes an edit, with `forward` (the forward pass of an edited model) and `loss` (the loss
and its search); `edit` is its value, `many` makes many of them. `cache` keeps edits and `applied`
applies them. `retrieval` finds subjects by their names, `gate_by_relation` teaches an edit which
texts ask for its relation, and `activation_matcher` finds facts by their neurons alone. `baselines`
has the compared editors, `evaluation` measures them.
"""
