"""One experiment and many: stages, sweeps, the store on disk, and Ray."""
