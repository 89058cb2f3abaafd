-- For the statement that follows in this transaction: walk an index in its order, and stop. A planner that knows too
-- little of the tables would rather collect an owner's tasks and sort them for each page. Without compiling, which the
-- high costs of what is switched off would start.
SELECT
    set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
    set_config('enable_bitmapscan', 'off', true), set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true), set_config('enable_material', 'off', true),
    set_config('jit', 'off', true)
