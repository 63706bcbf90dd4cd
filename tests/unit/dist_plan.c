/* Step plans: kinds, counts, flags and counters of every schedule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dist/coordinator.h"

static gd_plan_rules rules_of(int64_t d_steps, int64_t g_steps) {
    gd_plan_rules r = {.schedule = {.d_steps = d_steps, .g_steps = g_steps}, .global_batch = 64, .until = 1000000};
    for (int g = 0; g < GD_GROUP_COUNT; g++) r.optimizer[g] = (gd_optimizer_spec){.kind = GD_ADAM, .lr = 1e-4};
    return r;
}

/* "DDG", "DS" (S: shared), "B": the programs of iteration `step`. */
static const char *kinds(const gd_plan_rules *r, int64_t step) {
    static char text[256];
    gd_counters c = {.step = step - 1};
    gd_step_plan p = gd_plan_make(r, &c);
    int64_t n = gd_plan_programs(&p, &r->schedule);
    assert_true(n < (int64_t)sizeof text);
    for (int64_t i = 0; i < n; i++) text[i] = "DGSB"[gd_plan_kind(&p, &r->schedule, i)];
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
        assert_true(p.d_steps == q.d_steps && p.g_steps == q.g_steps && p.lr[0] == q.lr[0] && p.lr[1] == q.lr[1]);
        c = gd_plan_after(&p, &a);
    }
}

static void rates_follow_steps_and_updates(void **state) {
    (void)state;
    gd_plan_rules r = rules_of(5, 1);
    r.optimizer[GD_GROUP_G] = (gd_optimizer_spec){.lr = 1, .decay = GD_DECAY_LINEAR, .decay_end = 10};
    r.optimizer[GD_GROUP_D] = (gd_optimizer_spec){.lr = 1, .decay = GD_DECAY_EXPONENTIAL, .decay_rate = 2};
    gd_counters c = {.step = 4, .updates = {[GD_GROUP_D] = 3, [GD_GROUP_G] = 4}};
    gd_step_plan p = gd_plan_make(&r, &c);
    assert_true(p.lr[GD_GROUP_G] == 0.5);   /* iteration 5 of 10 */
    assert_true(p.lr[GD_GROUP_D] == 0.125); /* fourth update     */
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
        cmocka_unit_test(rates_follow_steps_and_updates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
