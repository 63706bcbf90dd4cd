/* launch/start_table.h -- what a person sees when a run starts: where it runs, and how the work is divided. */
#ifndef GANDIST_LAUNCH_START_TABLE_H
#define GANDIST_LAUNCH_START_TABLE_H

#include <stdio.h>

#include "dist/train.h"
#include "launch/session.h"
#include "recipes/recipe.h"

typedef struct gd_start_facts {
    const gd_recipe *recipe;
    const gd_train_config *config;
    const gd_dataset *data;
    const gd_gan *gan;
    const gd_comm *comm;
    const gd_layout *layout;
    int64_t from, until; /* steps */
    const char *device;  /* gd_device.text */
    const char *plans;   /* gd_plugin_plans */
    const char *sums;    /* gd_device.sums  */
} gd_start_facts;

/* Rank 0 only. */
void gd_start_table_print(const gd_start_facts *f, FILE *out);
/* "node1 node2 ...", cut to the room there is. */
void gd_start_table_hosts(const gd_layout *l, char *out, size_t room);

#endif
