-- Whether one of the lanes that were paused is paused no more, or one of the owners that were suspended goes on.
SELECT EXISTS (SELECT FROM lane WHERE seq = ANY(%(lanes)s) AND paused_at IS NULL)
    OR EXISTS (SELECT FROM owner WHERE seq = ANY(%(owners)s) AND suspended_at IS NULL)
