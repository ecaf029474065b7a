"""`lafn-viz`: thin commands over the public names. Each module has those of one kind."""
