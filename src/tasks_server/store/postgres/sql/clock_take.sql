-- Holds what is known of the clock, unless another has it in hand.
SELECT facts FROM clock WHERE one = 1 FOR UPDATE SKIP LOCKED
