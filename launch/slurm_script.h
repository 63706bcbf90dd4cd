/* launch/slurm_script.h -- launch/slurm/train.sbatch, as part of the program (launch/CMakeLists.txt makes it). */
#ifndef GANDIST_LAUNCH_SLURM_SCRIPT_H
#define GANDIST_LAUNCH_SLURM_SCRIPT_H

extern const char gd_slurm_script[];

#endif
