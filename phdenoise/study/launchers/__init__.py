"""Where runs are computed: in this process, in a pool of processes, as one vectorised program, by Slurm."""
