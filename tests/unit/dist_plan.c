/* Step plans: kinds, counts, flags and counters of every schedule. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dist/coordinator.h"
#include "dist/pool.h"

static gd_plan_rules rules_of(int64_t d_steps, int64_t g_steps) {
    gd_plan_rules r = {.schedule = {.d_steps = d_steps, .g_steps = g_steps}, .global_batch = 64, .until = 1000000};
    for (int g = 0; g < GD_GROUP_COUNT; g++) r.optimizer[g] = (gd_optimizer_spec){.kind = GD_ADAM, .lr = 1e-4};
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) r.reads[k] = k != GD_STEP_G;
    return r;
}

/* "DDG", "DS" (S: shared), "B": the programs of iteration `step`. */
static const char *kinds(const gd_plan_rules *r, int64_t step) {
    static char text[256];
    gd_counters c = {.step = step - 1};
    gd_step_plan p = gd_plan_make(r, &c);
    int64_t n = gd_plan_programs(&p, &r->schedule);
    assert_true(n < (int64_t)sizeof text);
    for (int64_t i = 0; i < n; i++) text[i] = "DGSFB"[gd_plan_kind(&p, &r->schedule, i)];
    text[n] = 0;
    return text;
}

static void d_first_then_g(void **state) {
    (void)state;
    gd_plan_rules r = rules_of(1, 1);
    assert_string_equal(kinds(&r, 1), "DG");
    r = rules_of(5, 1);
    assert_string_equal(kinds(&r, 77), "DDDDDG");
    r = rules_of(1, 4);
    assert_string_equal(kinds(&r, 1), "DGGGG");
}

static void a_shared_fake_joins_last_d_and_first_g(void **state) {
    (void)state;
    gd_plan_rules r = rules_of(1, 1);
    r.schedule.share_fake = true;
    assert_string_equal(kinds(&r, 1), "S");
    r.schedule.d_steps = 3;
    assert_string_equal(kinds(&r, 1), "DDS");
    r.schedule.g_steps = 2;
    assert_string_equal(kinds(&r, 1), "DDSG");
}

static void simultaneous_is_one_program(void **state) {
    (void)state;
    gd_plan_rules r = rules_of(1, 1);
    r.schedule.simultaneous = true;
    r.schedule.warmup_steps = 10;
    r.schedule.warmup_d_steps = 100;
    assert_string_equal(kinds(&r, 1), "B");
}

/* WGAN: 100 critic updates if gen_iterations < 25 or gen_iterations % 500 == 0, counted from 0. */
static void warm_up_bursts_as_in_wgan(void **state) {
    (void)state;
    gd_plan_rules r = rules_of(5, 1);
    r.schedule.warmup_steps = 25;
    r.schedule.warmup_d_steps = 100;
    r.schedule.warmup_every = 500;
    for (int64_t step = 1; step <= 1600; step++) {
        int64_t gen_iterations = step - 1, want = gen_iterations < 25 || gen_iterations % 500 == 0 ? 100 : 5;
        gd_counters c = {.step = step - 1};
        gd_step_plan p = gd_plan_make(&r, &c);
        if (p.d_steps != want || p.g_steps != 1)
            fail_msg("step %d: %d D updates, not %d", (int)step, (int)p.d_steps, (int)want);
    }
    r.schedule.warmup_every = 0;
    assert_int_equal(strlen(kinds(&r, 501)), 6);
    r.schedule.warmup_d_steps = 0; /* no bursts at all */
    assert_int_equal(strlen(kinds(&r, 1)), 6);
}

static void counters_count_what_was_done(void **state) {
    (void)state;
    gd_plan_rules r = rules_of(3, 2);
    gd_counters c = {0};
    for (int i = 0; i < 10; i++) {
        gd_step_plan p = gd_plan_make(&r, &c);
        assert_memory_equal(&p.start, &c, sizeof c);
        assert_int_equal(p.step, i + 1);
        c = gd_plan_after(&p, &r);
    }
    assert_int_equal(c.step, 10);
    assert_int_equal(c.updates[GD_GROUP_D], 30);
    assert_int_equal(c.updates[GD_GROUP_G], 20);
    assert_true(c.cursor == 30 * 64 && c.draws == 50);
    r.schedule = (gd_schedule_spec){.d_steps = 2, .g_steps = 1, .share_fake = true};
    gd_step_plan p = gd_plan_make(&r, &c);
    gd_counters after = gd_plan_after(&p, &r);
    assert_true(after.draws - c.draws == 2 && after.cursor - c.cursor == 128);
    assert_true(after.updates[GD_GROUP_D] - c.updates[GD_GROUP_D] == 2 &&
                after.updates[GD_GROUP_G] - c.updates[GD_GROUP_G] == 1);
    r.schedule = (gd_schedule_spec){.d_steps = 1, .g_steps = 1, .simultaneous = true};
    p = gd_plan_make(&r, &c);
    after = gd_plan_after(&p, &r);
    assert_true(after.draws - c.draws == 1 && after.cursor - c.cursor == 64);
}

static uint32_t flags_at(const gd_plan_rules *r, int64_t step) {
    gd_counters c = {.step = step - 1};
    return gd_plan_make(r, &c).flags;
}

static void flags_are_due_every_so_often(void **state) {
    (void)state;
    gd_plan_rules r = rules_of(1, 1);
    r.save_every = 10;
    r.log_every = 4;
    r.sample_every = 6;
    r.check_every = 3;
    r.until = 25;
    assert_int_equal(flags_at(&r, 1), 0);
    assert_int_equal(flags_at(&r, 3), GD_PLAN_CHECK);
    assert_int_equal(flags_at(&r, 4), GD_PLAN_LOG);
    assert_int_equal(flags_at(&r, 6), GD_PLAN_SAMPLE | GD_PLAN_CHECK);
    assert_int_equal(flags_at(&r, 10), GD_PLAN_SAVE);
    assert_int_equal(flags_at(&r, 12), GD_PLAN_LOG | GD_PLAN_SAMPLE | GD_PLAN_CHECK);
    assert_int_equal(flags_at(&r, 20), GD_PLAN_SAVE | GD_PLAN_LOG);
    assert_int_equal(flags_at(&r, 25), GD_PLAN_STOP | GD_PLAN_SAVE | GD_PLAN_LOG | GD_PLAN_SAMPLE);
    r.save_every = r.log_every = r.sample_every = r.check_every = 0; /* never, but the end is saved and logged */
    for (int64_t s = 1; s < 25; s++) assert_int_equal(flags_at(&r, s), 0);
    assert_int_equal(flags_at(&r, 25), GD_PLAN_STOP | GD_PLAN_SAVE | GD_PLAN_LOG);
}

/* --steps ends a run early and changes nothing in what the iterations do. */
static void the_end_does_not_change_the_way(void **state) {
    (void)state;
    gd_plan_rules a = rules_of(5, 1), b = a;
    a.schedule.warmup_steps = b.schedule.warmup_steps = 3;
    a.schedule.warmup_d_steps = b.schedule.warmup_d_steps = 20;
    a.optimizer[0].decay = b.optimizer[0].decay = GD_DECAY_LINEAR;
    a.optimizer[0].decay_end = b.optimizer[0].decay_end = 50;
    a.until = 7;
    b.until = 50;
    gd_counters c = {0};
    for (int i = 0; i < 7; i++) {
        gd_step_plan p = gd_plan_make(&a, &c), q = gd_plan_make(&b, &c);
        assert_true(p.d_steps == q.d_steps && p.g_steps == q.g_steps);
        c = gd_plan_after(&p, &a);
    }
}

static void g_first_shares_the_first_program(void **state) {
    (void)state;
    gd_plan_rules r = rules_of(3, 2);
    r.schedule.share_fake = r.schedule.g_first = true;
    assert_string_equal(kinds(&r, 1), "FDDG");
    r = rules_of(1, 1);
    r.schedule.share_fake = r.schedule.g_first = true;
    assert_string_equal(kinds(&r, 1), "F");
}

static void sides_alternate_in_blocks(void **state) {
    (void)state;
    gd_plan_rules r = rules_of(1, 2);
    r.schedule.alternate = 3;
    for (int64_t step = 1; step <= 12; step++) assert_string_equal(kinds(&r, step), (step - 1) / 3 % 2 ? "GG" : "D");
}

static void a_classifier_never_trains_g(void **state) {
    (void)state;
    gd_plan_rules r = rules_of(1, 1);
    r.no_g = true;
    assert_string_equal(kinds(&r, 1), "D");
}

static void reading_programs_move_the_cursor(void **state) {
    (void)state;
    gd_plan_rules r = rules_of(1, 2);
    gd_counters c = {0};
    r.reads[GD_STEP_G] = true;
    gd_step_plan p = gd_plan_make(&r, &c);
    assert_true(gd_plan_after(&p, &r).cursor == 3 * 64);
}

/* The penalty is in every third of D's updates, whatever iteration they belong to. */
static void the_penalty_counts_updates(void **state) {
    (void)state;
    gd_plan_rules r = rules_of(5, 1);
    gd_counters c = {0};
    int64_t update = 0;
    r.penalty_every = 3;
    for (int i = 0; i < 7; i++) {
        gd_step_plan p = gd_plan_make(&r, &c);
        for (int64_t k = 0; k < gd_plan_programs(&p, &r.schedule); k++) {
            bool d = gd_plan_kind(&p, &r.schedule, k) == GD_STEP_D;
            assert_int_equal(gd_plan_penalised(&p, &r, k), d && update % 3 == 0);
            update += d;
        }
        c = gd_plan_after(&p, &r);
    }
}

static void picks_are_drawn_evenly(void **state) {
    (void)state;
    gd_plan_rules r = rules_of(1, 1);
    int seen[4] = {0};
    r.pick = 4;
    r.seed = 5;
    for (int64_t step = 0; step < 4000; step++) {
        gd_counters c = {.step = step};
        seen[gd_plan_make(&r, &c).pick]++;
    }
    for (int i = 0; i < 4; i++) assert_in_range(seen[i], 850, 1150);
}

static void controls_follow_the_iteration(void **state) {
    (void)state;
    gd_plan_rules r = rules_of(1, 1);
    r.schedule.noise.start = 1;
    r.schedule.noise.end = 0.5;
    r.schedule.noise.steps = 10;
    r.schedule.rate.start = 0.01;
    r.schedule.rate.end = 0.5;
    r.schedule.rate.steps = 3;
    for (int64_t done = 0; done < 20; done++) {
        gd_counters c = {.step = done};
        gd_step_plan p = gd_plan_make(&r, &c);
        assert_true(p.rate == (done < 3 ? 0.01 : 0.5));
        assert_float_equal(p.noise_std, done < 10 ? 1 - 0.05 * (double)done : 0.5, 1e-12);
    }
}

/* A decision of iteration i holds from i + 2 on: the plan of i + 1 is under way when it is made. */
static void adaptive_steps_follow_and_stay_within(void **state) {
    (void)state;
    gd_plan_rules r = rules_of(2, 1);
    r.schedule.adaptive = (gd_adaptive_spec){GD_ADAPTIVE_ACCURACY, 0.6, 0.9, 1, 3, 2};
    gd_adaptive_state a = {.d_steps = 2, .next = 2};
    static const struct {
        double value;
        int64_t now, next;
    } way[] = {{0.5, 2, 2}, {0.5, 2, 3}, {NAN, 3, 3}, {0.5, 3, 3}, {0.5, 3, 3}, {1, 3, 3},
               {1, 3, 2},   {1, 2, 2},   {1, 2, 1},   {1, 1, 1},   {1, 1, 1},   {0.7, 1, 1}};
    for (size_t i = 0; i < sizeof way / sizeof *way; i++) {
        gd_adaptive_advance(&r.schedule.adaptive, way[i].value, &a);
        if (a.d_steps != way[i].now || a.next != way[i].next)
            fail_msg("value %d: %d, then %d", (int)i, (int)a.d_steps, (int)a.next);
        gd_counters c = {.step = 7, .adaptive = a};
        assert_int_equal(gd_plan_make(&r, &c).d_steps, way[i].now);
    }
}

/* ---- image pools ---- */

/* Plays the rule on numbers instead of images. */
static void a_pool_gives_old_images_half_of_the_time(void **state) {
    (void)state;
    enum { SIZE = 50, BATCH = 8, TURNS = 2000 };
    gd_pool_rules r = {.seed = 3, .pool = 1, .size = SIZE};
    int32_t give[BATCH], keep[SIZE];
    int64_t place[SIZE], held[SIZE], got[BATCH], old = 0, later = 0;
    for (int p = 0; p < SIZE; p++) place[p] = -1;
    for (int64_t turn = 0; turn < TURNS; turn++) {
        int64_t before = turn * BATCH;
        gd_pool_decide(&r, (uint64_t)turn, before, BATCH, give, keep);
        memcpy(held, place, sizeof held);
        for (int64_t p = 0; p < SIZE; p++)
            place[p] = keep[p] >= GD_POOL_PLACE ? held[keep[p] - GD_POOL_PLACE] : before + keep[p];
        for (int64_t i = 0; i < BATCH; i++) {
            bool own = give[i] == i;
            got[i] = give[i] >= GD_POOL_PLACE ? held[give[i] - GD_POOL_PLACE] : before + give[i];
            assert_true(got[i] >= 0 && got[i] <= before + i);
            if (before + i < SIZE) assert_true(own && place[before + i] == before + i); /* stored and given back */
            else later++;
            old += !own;
            for (int64_t p = 0; !own && p < SIZE; p++) assert_true(place[p] != got[i]); /* it has left the pool */
        }
    }
    assert_in_range(old * 1000 / later, 480, 520);
}

/* One image after the other gives the same as a batch at once, with the batch's draws. */
static void a_pool_of_one_is_the_image_before(void **state) {
    (void)state;
    gd_pool_rules r = {.seed = 3, .size = 1};
    int32_t give[64], keep[1];
    int last = 0, swapped = 0;
    gd_pool_decide(&r, 0, 0, 64, give, keep);
    assert_int_equal(give[0], 0);
    for (int i = 1; i < 64; i++) {
        if (give[i] == i) continue;
        assert_int_equal(give[i], last);
        last = i;
        swapped++;
    }
    assert_int_equal(keep[0], last);
    assert_in_range(swapped, 15, 48);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(d_first_then_g),
        cmocka_unit_test(a_shared_fake_joins_last_d_and_first_g),
        cmocka_unit_test(simultaneous_is_one_program),
        cmocka_unit_test(warm_up_bursts_as_in_wgan),
        cmocka_unit_test(counters_count_what_was_done),
        cmocka_unit_test(flags_are_due_every_so_often),
        cmocka_unit_test(the_end_does_not_change_the_way),
        cmocka_unit_test(g_first_shares_the_first_program),
        cmocka_unit_test(sides_alternate_in_blocks),
        cmocka_unit_test(a_classifier_never_trains_g),
        cmocka_unit_test(reading_programs_move_the_cursor),
        cmocka_unit_test(the_penalty_counts_updates),
        cmocka_unit_test(picks_are_drawn_evenly),
        cmocka_unit_test(controls_follow_the_iteration),
        cmocka_unit_test(adaptive_steps_follow_and_stay_within),
        cmocka_unit_test(a_pool_gives_old_images_half_of_the_time),
        cmocka_unit_test(a_pool_of_one_is_the_image_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
